// Copies small records from a staging area into a mapped file, and closes both of their parts with checksums on the way.
#pragma once

#include <napi.h>

namespace holt {

// createSealedCopy(portable: boolean): { staging: ArrayBuffer, copy(), aim(target, headSalt, bodySalt),
// setSource(number, words), letGo() }, as src/sealed-copy.ts says; undefined where there is no external memory. Portable:
// without instructions for checksums.
Napi::Value CreateSealedCopy(const Napi::CallbackInfo& info);

}  // namespace holt
