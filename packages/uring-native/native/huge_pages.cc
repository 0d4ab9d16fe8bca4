#include "huge_pages.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace holt {
namespace {

// The whole pages within an array.
struct PageRange {
  explicit PageRange(const Napi::Uint8Array& bytes) {
    const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    const auto address = reinterpret_cast<uintptr_t>(bytes.Data());
    start = (address + page - 1) & ~(page - 1);
    const uintptr_t end = (address + bytes.ByteLength()) & ~(page - 1);
    length = end > start ? end - start : 0;
  }
  uintptr_t start;
  size_t length;
};

class PopulateWorker : public Napi::AsyncWorker {
 public:
  // The reference keeps the memory, which is shared and never moves.
  PopulateWorker(const Napi::Uint8Array& bytes, const Napi::Function& done)
      : Napi::AsyncWorker(done), range_(bytes), bytes_(Napi::Persistent(bytes.As<Napi::Object>())) {}

  void Execute() override {
    // Before Linux 5.14 the answer is EINVAL.
    const int advised = madvise(reinterpret_cast<void*>(range_.start), range_.length, MADV_POPULATE_WRITE);
    static_cast<void>(advised);
  }

 private:
  PageRange range_;
  Napi::ObjectReference bytes_;
};

}  // namespace

Napi::Value AdviseHugePages(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const PageRange range(info[0].As<Napi::Uint8Array>());
  if (range.length == 0) return Napi::Number::New(env, -EINVAL);
  const int result = madvise(reinterpret_cast<void*>(range.start), range.length, MADV_HUGEPAGE);
  return Napi::Number::New(env, result == 0 ? 0 : -errno);
}

Napi::Value PopulateMemory(const Napi::CallbackInfo& info) {
  auto* worker = new PopulateWorker(info[0].As<Napi::Uint8Array>(), info[1].As<Napi::Function>());
  worker->Queue();
  return info.Env().Undefined();
}

}  // namespace holt
