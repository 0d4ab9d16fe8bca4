#include "memory_pin.h"

#include <uv.h>

namespace holt {
namespace {

// Node-API has no call for this. Two functions of V8's public interface have, unchanged since 2019: they are looked up by
// name, so that an engine without them leaves the pin out instead of failing to load; each answer is checked against the
// address that Node-API gives.
//
//   std::shared_ptr<v8::BackingStore> v8::ArrayBuffer::GetBackingStore()
//   void* v8::BackingStore::Data() const
//
// A napi_value is the pointer that these take as `this`.
using GetBackingStore = std::shared_ptr<void> (*)(void* arrayBuffer);
using Data = void* (*)(const void* backingStore);

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
  const bool found = uv_dlopen(nullptr, &program) == 0 &&
                     uv_dlsym(&program, "_ZN2v811ArrayBuffer15GetBackingStoreEv", &get) == 0 &&
                     uv_dlsym(&program, "_ZNK2v812BackingStore4DataEv", &data) == 0;
  return {reinterpret_cast<GetBackingStore>(get), reinterpret_cast<Data>(data), found};
}

}  // namespace

MemoryPin PinMemory(napi_env env, napi_value arrayBuffer, const void* bufferData) {
  static const Engine engine = Find();
  if (!engine.usable) return {};
  bool detachable = false;
  if (napi_is_arraybuffer(env, arrayBuffer, &detachable) != napi_ok || !detachable) return {};
  MemoryPin pin = engine.getBackingStore(arrayBuffer);
  if (pin == nullptr || engine.data(pin.get()) != bufferData) return {};
  return pin;
}

}  // namespace holt
