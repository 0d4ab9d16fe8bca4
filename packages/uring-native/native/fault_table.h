// Faults on request, for tests: the n-th call of an operation fails with an errno, moves fewer bytes, or loses its
// completion. One table for the whole process; while it is empty, which it is unless a test arms it, it costs the
// callers one relaxed load.
#pragma once

#include <napi.h>

#include <cstdint>

namespace holt {

// What can be made to fail. Operations of a ring are named by their opcode; these are the other points.
enum FaultPoint : uint32_t {
  kFaultRingSetup = 256,     // io_uring_setup
  kFaultRingEnter = 257,     // io_uring_enter, except for the waiting of a ring that is being closed
  kFaultRegisterFile = 258,  // a descriptor put into a ring's table
  kFaultRegisterBuffer = 259,
  kFaultRead = 260,       // pread
  kFaultWrite = 261,      // pwrite
  kFaultWriteDsync = 262,  // pwritev2 with RWF_DSYNC
  kFaultDataSync = 263,   // fdatasync
  kFaultTruncate = 264,   // ftruncate
  kFaultPinMemory = 265,  // asking whether the engine lets memory be held
  kFaultRingTake = 266,   // handing over to a ring: the kernel takes so many entries at most
  kFaultRingDrain = 267,  // at the end of a ring: cancelling what the kernel still has, and waiting for it
  kFaultRingWorkFlag = 268,  // the kernel's flag for work that waits stays up with nothing behind it
};

enum class FaultKind : uint32_t { kNone = 0, kErrno = 1, kShort = 2, kDrop = 3 };

struct Fault {
  FaultKind kind = FaultKind::kNone;
  uint32_t value = 0;  // the errno, or how many bytes at most
};

// Counts a call at this point, and says what is to happen to it.
Fault NextFault(uint32_t point);

// setFaults(rules): replaces the table, counting anew. Five numbers a rule: point, first call (from 1), calls, kind,
// value.
Napi::Value SetFaults(const Napi::CallbackInfo& info);
// faultHits(): how often each rule has struck.
Napi::Value FaultHits(const Napi::CallbackInfo& info);

}  // namespace holt
