#include "huge_pages.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

namespace holt {

Napi::Value AdviseHugePages(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto bytes = info[0].As<Napi::Uint8Array>();
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto address = reinterpret_cast<uintptr_t>(bytes.Data());
  const uintptr_t start = (address + page - 1) & ~(page - 1);
  const uintptr_t end = (address + bytes.ByteLength()) & ~(page - 1);
  if (end <= start) return Napi::Number::New(env, -EINVAL);
  const int result = madvise(reinterpret_cast<void*>(start), end - start, MADV_HUGEPAGE);
  return Napi::Number::New(env, result == 0 ? 0 : -errno);
}

}  // namespace holt
