// The module: what JavaScript sees, installed anew for each environment that loads it.

#include <napi.h>

#include <cstdint>

#include "blocking.h"
#include "crc32c.h"
#include "env_state.h"
#include "fault_table.h"
#include "huge_pages.h"
#include "log_thread.h"
#include "mapping.h"
#include "memory_pin.h"
#include "ring_binding.h"
#include "sealed_copy.h"

namespace holt {
namespace {

using CrcFunction = uint32_t (*)(const uint8_t*, size_t, uint32_t);

// crc32c(bytes, offset, length, seed). Plain Node-API: this is called for every record and page.
template <CrcFunction kCrc>
napi_value CrcBinding(napi_env env, napi_callback_info info) {
  size_t argc = 4;
  napi_value args[4];
  napi_get_cb_info(env, info, &argc, args, nullptr, nullptr);
  void* data = nullptr;
  size_t size = 0;
  double offset = 0;
  double length = 0;
  double seed = 0;
  if (argc < 4 || napi_get_typedarray_info(env, args[0], nullptr, &size, &data, nullptr, nullptr) != napi_ok ||
      napi_get_value_double(env, args[1], &offset) != napi_ok ||
      napi_get_value_double(env, args[2], &length) != napi_ok ||
      napi_get_value_double(env, args[3], &seed) != napi_ok) {
    napi_throw_type_error(env, nullptr, "crc32c needs (Uint8Array, offset, length, seed)");
    return nullptr;
  }
  // Written so that NaN fails too. The size counts elements: only arrays of bytes are given.
  const auto available = static_cast<double>(size);
  if (!(offset >= 0 && length >= 0 && offset + length <= available && seed >= 0 && seed <= 0xffffffff)) {
    napi_throw_range_error(env, nullptr, "crc32c: the range lies outside of the array, or the seed is no CRC");
    return nullptr;
  }
  const uint32_t crc = kCrc(static_cast<const uint8_t*>(data) + static_cast<size_t>(offset),
                            static_cast<size_t>(length), static_cast<uint32_t>(seed));
  napi_value result;
  napi_create_uint32(env, crc, &result);
  return result;
}

void ExportPlain(napi_env env, napi_value exports, const char* name, napi_callback function, void* data) {
  napi_value value;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, function, data, &value);
  napi_set_named_property(env, exports, name, value);
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  auto* state = new EnvState(env);
  env.SetInstanceData<EnvState>(state);

  ExportPlain(env, exports, "crc32c", CrcBinding<Crc32c>, nullptr);
  ExportPlain(env, exports, "crc32cSoftware", CrcBinding<Crc32cSoftware>, nullptr);
  ExportPlain(env, exports, "submitRing", RingBinding::Submit, state);
  ExportPlain(env, exports, "passOnRing", RingBinding::PassOn, state);

  const auto add = [&](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, function, name));
  };
  add("addressOf", AddressOf);
  add("adviseHugePages", AdviseHugePages);
  add("populateMemory", PopulateMemory);
  add("canPinMemory", CanPinMemoryBinding);
  add("createRing", RingBinding::Create);
  add("waitRing", RingBinding::Wait);
  add("cancelRing", RingBinding::Cancel);
  add("setRingFile", RingBinding::SetFile);
  add("setRingBuffer", RingBinding::SetBuffer);
  add("ringUse", RingBinding::Use);
  add("closeRing", RingBinding::CloseById);
  add("createLogThread", LogThread::Create);
  add("logWriteDsync", LogThread::WriteDsync);
  add("logSync", LogThread::Sync);
  add("logSyncAfter", LogThread::SyncAfter);
  add("logCancel", LogThread::Cancel);
  add("logTruncate", LogThread::Truncate);
  add("logAppendZeros", LogThread::AppendZeros);
  add("logBarrier", LogThread::Barrier);
  add("logPopulate", LogThread::Populate);
  add("closeLogThread", LogThread::CloseById);
  add("mapFile", MapFile);
  add("createSealedCopy", CreateSealedCopy);
  add("detachMapping", DetachMapping);
  add("readSync", ReadSync);
  add("writeSync", WriteSync);
  add("syncSync", SyncSync);
  add("closeSync", CloseSync);
  add("lockFile", LockFile);
  add("setDirect", SetDirect);
  add("directAlignment", DirectAlignment);
  add("setFaults", SetFaults);
  add("faultHits", FaultHits);
  return exports;
}

}  // namespace
}  // namespace holt

static Napi::Object InitHolt(Napi::Env env, Napi::Object exports) { return holt::Init(env, exports); }

NODE_API_MODULE(holt_native, InitHolt)
