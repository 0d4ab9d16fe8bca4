// Keeps the memory of an ArrayBuffer where it is while the kernel uses it, also when JavaScript transfers the buffer away
// and its new owner drops it. Holding the array is not enough for that: a transfer leaves it empty.
#pragma once

#include <node_api.h>

#include <memory>

namespace holt {

using MemoryPin = std::shared_ptr<void>;

// The memory of an ArrayBuffer that starts at `bufferData`, or nothing: of shared memory, which is never detached, and
// where the engine does not offer it.
MemoryPin PinMemory(napi_env env, napi_value arrayBuffer, const void* bufferData);

}  // namespace holt
