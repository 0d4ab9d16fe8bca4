// Large pages for memory that is read at random.
#pragma once

#include <napi.h>

namespace holt {

// adviseHugePages(bytes): 0, or the negative errno with which the kernel refused. Only whole pages within the range are
// advised; nothing is touched.
Napi::Value AdviseHugePages(const Napi::CallbackInfo& info);

// populateMemory(bytes, done): has the pages of shared memory made present for writing, by a thread of node's pool; what
// they hold stays. done() is called in any case: where the kernel cannot, they come at first touch.
Napi::Value PopulateMemory(const Napi::CallbackInfo& info);

}  // namespace holt
