// What the headers of a newer compiler and C library refer to, and the libraries of older systems lack. Defined here,
// seen by this addon alone, so that a binary built on a new system loads on an old one: glibc 2.28 and libstdc++ of
// GCC 8 are what scripts/check-binary.mjs allows. For the same reason nothing here uses std::make_shared or fstat.
//
// No header that declares these is included: they would be declared there with another visibility.

#include <stdlib.h>

// glibc 2.32: whether reference counts may do without atomic instructions. They may not.
extern "C" __attribute__((visibility("hidden"))) char __libc_single_threaded;
char __libc_single_threaded = 0;

// libstdc++ of GCC 11: std::__throw_bad_array_new_length(), for lengths that no memory could hold.
extern "C" __attribute__((visibility("hidden"), noreturn)) void HoltBadArrayLength() __asm__(
    "_ZSt28__throw_bad_array_new_lengthv");
void HoltBadArrayLength() { abort(); }
