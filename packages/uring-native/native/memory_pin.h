// Keeps the memory of an ArrayBuffer where it is while the kernel uses it, also when JavaScript transfers the buffer away
// and its new owner drops it. Holding the array is not enough for that: a transfer leaves it empty.
#pragma once

#include <napi.h>

#include <memory>

namespace holt {

using MemoryPin = std::shared_ptr<void>;

// Whether this engine lets memory be held. Where it does not, no operation may outlive the call that began it.
bool CanPinMemory();
// canPinMemory()
Napi::Value CanPinMemoryBinding(const Napi::CallbackInfo& info);

// Holds the memory of an ArrayBuffer that starts at `bufferData` until the pin goes; of shared memory, which is never
// detached, nothing. False if it cannot be held: it must not be given to the kernel then.
bool PinMemory(napi_env env, napi_value arrayBuffer, const void* bufferData, MemoryPin* pin);

}  // namespace holt
