// Large pages for memory that is read at random.
#pragma once

#include <napi.h>

namespace holt {

// adviseHugePages(bytes): 0, or the negative errno with which the kernel refused. Only whole pages within the range are
// advised; nothing is touched.
Napi::Value AdviseHugePages(const Napi::CallbackInfo& info);

}  // namespace holt
