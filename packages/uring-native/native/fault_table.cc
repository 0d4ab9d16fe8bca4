#include "fault_table.h"

#include <atomic>
#include <mutex>
#include <vector>

namespace holt {
namespace {

constexpr size_t kRuleNumbers = 5;

struct Rule {
  uint32_t point;
  double firstCall;
  double calls;
  Fault fault;
  double seen = 0;
  double hits = 0;
};

// Never destroyed: threads of workers may outlive the statics of a process that exits.
struct Table {
  std::atomic<bool> armed{false};
  std::mutex mutex;
  std::vector<Rule> rules;
};

Table& TheTable() {
  static auto* const table = new Table();
  return *table;
}

}  // namespace

Fault NextFault(uint32_t point) {
  Table& table = TheTable();
  if (!table.armed.load(std::memory_order_relaxed)) return {};
  const std::lock_guard<std::mutex> guard(table.mutex);
  Fault strikes;
  for (Rule& rule : table.rules) {
    if (rule.point != point) continue;
    rule.seen++;
    if (rule.seen < rule.firstCall || rule.seen >= rule.firstCall + rule.calls) continue;
    if (strikes.kind != FaultKind::kNone) continue;
    rule.hits++;
    strikes = rule.fault;
  }
  return strikes;
}

Napi::Value SetFaults(const Napi::CallbackInfo& info) {
  Table& table = TheTable();
  const auto numbers = info[0].As<Napi::Float64Array>();
  const std::lock_guard<std::mutex> guard(table.mutex);
  table.rules.clear();
  for (size_t at = 0; at + kRuleNumbers <= numbers.ElementLength(); at += kRuleNumbers) {
    const double* rule = numbers.Data() + at;
    table.rules.push_back({static_cast<uint32_t>(rule[0]), rule[1], rule[2],
                           Fault{static_cast<FaultKind>(static_cast<uint32_t>(rule[3])), static_cast<uint32_t>(rule[4])}});
  }
  table.armed.store(!table.rules.empty(), std::memory_order_relaxed);
  return info.Env().Undefined();
}

Napi::Value FaultHits(const Napi::CallbackInfo& info) {
  Table& table = TheTable();
  const std::lock_guard<std::mutex> guard(table.mutex);
  const Napi::Array hits = Napi::Array::New(info.Env(), table.rules.size());
  for (uint32_t i = 0; i < table.rules.size(); i++) hits.Set(i, Napi::Number::New(info.Env(), table.rules[i].hits));
  return hits;
}

}  // namespace holt
