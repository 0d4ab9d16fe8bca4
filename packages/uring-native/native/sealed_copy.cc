#include "sealed_copy.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>

#include "crc32c.h"
#include "env_state.h"
#include "mapping.h"
#include "memory_pin.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace holt {
namespace {

// Both are drawn in src/sealed-copy.ts: what is staged, and what is written.
constexpr size_t kRecordAt = 64;
constexpr size_t kHeadBytes = 24;
constexpr size_t kBodyAt = kHeadBytes + 4;
constexpr size_t kLeastBytes = kBodyAt + 4;
constexpr size_t kMostStagedBytes = 1024;
constexpr uint32_t kSources = 8;
constexpr uint32_t kPieces = 2;

constexpr size_t kLineBytes = 64;
// Fetched ahead: the lines of a record as long as most are.
constexpr size_t kFetchBytes = 3 * kLineBytes;

// Memory that pieces are taken from.
struct Source {
  const uint8_t* data = nullptr;
  size_t bytes = 0;
  napi_ref array = nullptr;
  MemoryPin pin;
};

// Belongs to its functions and to the buffer together.
struct SealedCopy {
  uint8_t staging[kRecordAt + kMostStagedBytes] = {};
  std::shared_ptr<MappedRegion> region;
  uint32_t headSalt = 0;
  uint32_t bodySalt = 0;
  bool hasCrcInstruction = false;
  Source sources[kSources];
};
using Holder = std::shared_ptr<SealedCopy>;

inline uint32_t Load32(const uint8_t* from) {
  uint32_t word;
  std::memcpy(&word, from, 4);
  return word;
}

inline void Store32(uint8_t* to, uint32_t word) { std::memcpy(to, &word, 4); }

constexpr size_t Padded(size_t bytes) { return (bytes + 3) & ~static_cast<size_t>(3); }

struct Piece {
  const uint8_t* data;
  size_t bytes;
};

// What one call copies, checked.
struct Order {
  const uint8_t* head;
  Piece pieces[1 + kPieces];  // the staged one first
  uint8_t* to;
  size_t total;
  uint32_t headSeed;
  uint32_t bodySeed;
};

void CopyPortably(const Order& order) {
  uint8_t* const to = order.to;
  std::memcpy(to, order.head, kHeadBytes);
  Store32(to + kHeadBytes, Crc32c(order.head, kHeadBytes, order.headSeed));
  size_t at = kBodyAt;
  for (const Piece& piece : order.pieces) {
    if (piece.bytes != 0) std::memcpy(to + at, piece.data, piece.bytes);
    std::memset(to + at + piece.bytes, 0, Padded(piece.bytes) - piece.bytes);
    at += Padded(piece.bytes);
  }
  const size_t end = order.total - 4;
  std::memset(to + at, 0, end - at);
  Store32(to + end, Crc32c(to + kBodyAt, end - kBodyAt, order.bodySeed));
}

#if defined(__x86_64__)
// JavaScript has just stored the two halves: two loads are served by its stores before these reach the cache, one over
// both would wait for them.
inline uint64_t LoadHalves(const uint8_t* from) {
  return Load32(from) | (static_cast<uint64_t>(Load32(from + 4)) << 32);
}

// One pass: what is loaded is stored and checked. Nothing is read from the target, whose lines may still be on their way.
__attribute__((target("sse4.2"))) void CopyWithInstruction(const Order& order) {
  uint8_t* const to = order.to;
  uint64_t head = static_cast<uint32_t>(~order.headSeed);
  for (size_t at = 0; at < kHeadBytes; at += 8) {
    const uint64_t word = LoadHalves(order.head + at);
    head = _mm_crc32_u64(head, word);
    std::memcpy(to + at, &word, 8);
  }
  Store32(to + kHeadBytes, ~static_cast<uint32_t>(head));
  uint64_t body = static_cast<uint32_t>(~order.bodySeed);
  uint8_t* out = to + kBodyAt;
  for (const Piece& piece : order.pieces) {
    const uint8_t* from = piece.data;
    size_t left = piece.bytes;
    for (; left >= 8; left -= 8, from += 8, out += 8) {
      const uint64_t word = LoadHalves(from);
      body = _mm_crc32_u64(body, word);
      std::memcpy(out, &word, 8);
    }
    if (left >= 4) {
      const uint32_t word = Load32(from);
      body = _mm_crc32_u32(static_cast<uint32_t>(body), word);
      Store32(out, word);
      left -= 4;
      from += 4;
      out += 4;
    }
    if (left > 0) {
      uint32_t word = from[0];
      if (left > 1) word |= static_cast<uint32_t>(from[1]) << 8;
      if (left > 2) word |= static_cast<uint32_t>(from[2]) << 16;
      body = _mm_crc32_u32(static_cast<uint32_t>(body), word);
      Store32(out, word);
      out += 4;
    }
  }
  for (uint8_t* const end = to + order.total - 4; out < end; out += 4) {
    body = _mm_crc32_u32(static_cast<uint32_t>(body), 0);
    Store32(out, 0);
  }
  Store32(out, ~static_cast<uint32_t>(body));
}
#endif

// copy(): called for every record, hence plain Node-API without arguments.
napi_value Copy(napi_env env, napi_callback_info info) {
  void* data = nullptr;
  napi_get_cb_info(env, info, nullptr, nullptr, nullptr, &data);
  const SealedCopy& copy = **static_cast<Holder*>(data);
  const uint8_t* const staging = copy.staging;
  const size_t offset = Load32(staging);
  const MappedRegion* region = copy.region.get();
  Order order;
  order.total = Load32(staging + 4);
  order.head = staging + kRecordAt;
  order.pieces[0] = {staging + kRecordAt + kBodyAt, Load32(staging + 8)};
  bool isInside = region != nullptr && order.total >= kLeastBytes && order.total % 8 == 0 &&
                  offset + order.total <= region->length() && order.pieces[0].bytes <= kMostStagedBytes - kBodyAt;
  size_t bodyBytes = Padded(order.pieces[0].bytes);
  for (uint32_t i = 0; i < kPieces; i++) {
    const uint8_t* const control = staging + 12 + i * 12;
    const size_t bytes = Load32(control + 8);
    order.pieces[1 + i] = {nullptr, bytes};
    if (bytes == 0) continue;
    const uint32_t number = Load32(control);
    const size_t from = Load32(control + 4);
    if (number >= kSources || from + bytes > copy.sources[number].bytes) {
      isInside = false;
      break;
    }
    order.pieces[1 + i].data = copy.sources[number].data + from;
    bodyBytes += Padded(bytes);
  }
  if (!isInside || bodyBytes > order.total - kLeastBytes) {
    napi_throw_range_error(env, nullptr, "a sealed copy without target, beyond it, or from beyond a source");
    return nullptr;
  }
  order.to = region->address() + offset;
  order.headSeed = copy.headSalt ^ static_cast<uint32_t>(offset);
  order.bodySeed = copy.bodySalt ^ static_cast<uint32_t>(offset);
#if defined(__x86_64__)
  if (copy.hasCrcInstruction)
    CopyWithInstruction(order);
  else
    CopyPortably(order);
#else
  CopyPortably(order);
#endif
  // The next record's lines. Of an address that is not there nothing is fetched, and nothing else happens.
  const uint8_t* const next = order.to + order.total;
  for (size_t ahead = 0; ahead < kFetchBytes; ahead += kLineBytes) __builtin_prefetch(next + ahead, 1);
  return nullptr;
}

SealedCopy& CopyOf(napi_env env, napi_callback_info info, size_t* argc, napi_value* args) {
  void* holder = nullptr;
  napi_get_cb_info(env, info, argc, args, nullptr, &holder);
  return **static_cast<Holder*>(holder);
}

napi_value BooleanOf(napi_env env, bool value) {
  napi_value result;
  napi_get_boolean(env, value, &result);
  return result;
}

// aim(target, headSalt, bodySalt): whether the target is the whole of a mapping.
napi_value Aim(napi_env env, napi_callback_info info) {
  size_t argc = 3;
  napi_value args[3];
  SealedCopy& copy = CopyOf(env, info, &argc, args);
  void* target = nullptr;
  uint32_t headSalt = 0;
  uint32_t bodySalt = 0;
  if (argc < 3 || napi_get_typedarray_info(env, args[0], nullptr, nullptr, &target, nullptr, nullptr) != napi_ok ||
      napi_get_value_uint32(env, args[1], &headSalt) != napi_ok ||
      napi_get_value_uint32(env, args[2], &bodySalt) != napi_ok) {
    napi_throw_type_error(env, nullptr, "aim needs (Uint8Array, headSalt, bodySalt)");
    return nullptr;
  }
  std::shared_ptr<MappedRegion> region = EnvState::Of(env)->mappings->FindAround(static_cast<uint8_t*>(target));
  if (region == nullptr || region->address() != target) return BooleanOf(env, false);
  copy.region = std::move(region);
  copy.headSalt = headSalt;
  copy.bodySalt = bodySalt;
  return BooleanOf(env, true);
}

void Forget(napi_env env, Source* source) {
  if (source->array != nullptr) napi_delete_reference(env, source->array);
  *source = Source();
}

// setSource(number, words): whether the memory could be held.
napi_value SetSource(napi_env env, napi_callback_info info) {
  size_t argc = 2;
  napi_value args[2];
  SealedCopy& copy = CopyOf(env, info, &argc, args);
  uint32_t number = 0;
  napi_typedarray_type type = napi_int8_array;
  size_t length = 0;
  void* data = nullptr;
  napi_value buffer;
  size_t offset = 0;
  if (argc < 2 || napi_get_value_uint32(env, args[0], &number) != napi_ok || number >= kSources ||
      napi_get_typedarray_info(env, args[1], &type, &length, &data, &buffer, &offset) != napi_ok ||
      type != napi_uint32_array) {
    napi_throw_type_error(env, nullptr, "setSource needs (number below 8, Uint32Array)");
    return nullptr;
  }
  Source source;
  if (!PinMemory(env, buffer, static_cast<uint8_t*>(data) - offset, &source.pin) ||
      napi_create_reference(env, args[1], 1, &source.array) != napi_ok)
    return BooleanOf(env, false);
  Forget(env, &copy.sources[number]);
  source.data = static_cast<uint8_t*>(data);
  source.bytes = length * 4;
  copy.sources[number] = std::move(source);
  return BooleanOf(env, true);
}

void LetGoOfAll(napi_env env, SealedCopy* copy) {
  copy->region.reset();
  for (Source& source : copy->sources) Forget(env, &source);
}

// letGo()
napi_value LetGo(napi_env env, napi_callback_info info) {
  LetGoOfAll(env, &CopyOf(env, info, nullptr, nullptr));
  return nullptr;
}

void OnGone(napi_env env, void*, void* data) {
  auto* holder = static_cast<Holder*>(data);
  if (holder->use_count() == 1) LetGoOfAll(env, holder->get());
  delete holder;
}

// A function that shares in the copy as long as it lives.
napi_value Share(napi_env env, const char* name, napi_callback function, const Holder& copy) {
  auto* holder = new Holder(copy);
  napi_value value;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, function, holder, &value);
  napi_add_finalizer(env, value, holder, OnGone, holder, nullptr);
  return value;
}

}  // namespace

Napi::Value CreateSealedCopy(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Holder copy(new SealedCopy());
#if defined(__x86_64__)
  copy->hasCrcInstruction = __builtin_cpu_supports("sse4.2") != 0 && !info[0].ToBoolean();
#endif
  auto* ofBuffer = new Holder(copy);
  napi_value buffer;
  if (napi_create_external_arraybuffer(env, copy->staging, sizeof copy->staging, OnGone, ofBuffer, &buffer) != napi_ok) {
    delete ofBuffer;
    if (env.IsExceptionPending()) env.GetAndClearPendingException();
    return env.Undefined();
  }
  Napi::Object result = Napi::Object::New(env);
  result.Set("staging", Napi::Value(env, buffer));
  result.Set("copy", Napi::Value(env, Share(env, "copy", Copy, copy)));
  result.Set("aim", Napi::Value(env, Share(env, "aim", Aim, copy)));
  result.Set("setSource", Napi::Value(env, Share(env, "setSource", SetSource, copy)));
  result.Set("letGo", Napi::Value(env, Share(env, "letGo", LetGo, copy)));
  return result;
}

}  // namespace holt
