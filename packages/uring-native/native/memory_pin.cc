#include "memory_pin.h"

#include <uv.h>

#include "fault_table.h"

namespace holt {
namespace {

// Node-API has no call for this. Two functions of V8's public interface have, unchanged since 2019: they are looked up by
// name.
//
//   std::shared_ptr<v8::BackingStore> v8::ArrayBuffer::GetBackingStore()
//   void* v8::BackingStore::Data() const
//
// A napi_value is the pointer that these take as `this`. What a function returns is not in its name, and shared pointers
// of another C++ library than ours would be something else: so there must also be this one, whose name says that the
// engine's pointers to such memory are those of libstdc++ (in libc++, std::shared_ptr is std::__1::shared_ptr):
//
//   static v8::ArrayBuffer::New(v8::Isolate*, std::shared_ptr<v8::BackingStore>)
//
// Each answer is checked against the address that Node-API gives.
using GetBackingStore = std::shared_ptr<void> (*)(void* arrayBuffer);
using Data = void* (*)(const void* backingStore);

constexpr const char* kNewOfStdSharedPtr =
    "_ZN2v811ArrayBuffer3NewEPNS_7IsolateESt10shared_ptrINS_12BackingStoreEE";

struct Engine {
  GetBackingStore getBackingStore;
  Data data;
  bool usable;
};

// By libuv: dlsym itself would bind the addon to a recent C library.
Engine Find() {
  uv_lib_t program;
  void* get = nullptr;
  void* data = nullptr;
  void* witness = nullptr;
  const bool found = uv_dlopen(nullptr, &program) == 0 &&
                     uv_dlsym(&program, "_ZN2v811ArrayBuffer15GetBackingStoreEv", &get) == 0 &&
                     uv_dlsym(&program, "_ZNK2v812BackingStore4DataEv", &data) == 0 &&
                     uv_dlsym(&program, kNewOfStdSharedPtr, &witness) == 0;
  return {reinterpret_cast<GetBackingStore>(get), reinterpret_cast<Data>(data), found};
}

const Engine& TheEngine() {
  static const Engine engine = Find();
  return engine;
}

}  // namespace

bool CanPinMemory() { return NextFault(kFaultPinMemory).kind == FaultKind::kNone && TheEngine().usable; }

Napi::Value CanPinMemoryBinding(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), CanPinMemory());
}

bool PinMemory(napi_env env, napi_value arrayBuffer, const void* bufferData, MemoryPin* pin) {
  pin->reset();
  bool detachable = false;
  if (napi_is_arraybuffer(env, arrayBuffer, &detachable) != napi_ok) return false;
  if (!detachable) return true;
  const Engine& engine = TheEngine();
  if (!engine.usable) return false;
  *pin = engine.getBackingStore(arrayBuffer);
  return *pin != nullptr && engine.data(pin->get()) == bufferData;
}

}  // namespace holt
