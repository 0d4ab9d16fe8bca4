// A Ring as JavaScript drives it: commands in one array, completions in another, wake-ups by the event loop.
#pragma once

#include <napi.h>
#include <uv.h>

#include <memory>
#include <vector>

#include "env_state.h"
#include "memory_pin.h"
#include "ring.h"

namespace holt {

// Commands, ten numbers each (a Float64Array):
//
//   0 opcode | 1 slot | 2 fd | 3 offset | 4 start or length | 5 length, mode or mask | 6 flags of the operation
//   7 flags of the entry (link, hard link) | 8 generation | 9 index in the file table, or -1
//
// Commands that are linked are taken together or not at all: if one cannot be, the others of its chain are cancelled.
//
// The buffers of the operation in slot s are held[2 s] and held[2 s + 1]: JavaScript puts them there before submit and
// takes them out after the completion. The array is referenced from here, so whatever the kernel still uses stays
// alive, also when nobody in JavaScript remembers it.
//
// Completions (an Int32Array): two numbers on top, then three for each.
//
//   0 how many operations the kernel has | 1 zero, or the negative errno that broke the ring
//   2 slot | 3 generation | 4 result (negative: errno) | 5 slot | ...
class RingBinding {
 public:
  // createRing(entries, submissionThreadIdleMs or -1, fileTable, bufferTable, onCompletions): what addon.ts says of
  // NativeRing, or a negative errno.
  static Napi::Value Create(const Napi::CallbackInfo& info);
  // submitRing(id, count): how many completions are in the array already.
  static napi_value Submit(napi_env env, napi_callback_info info);
  // passOnRing(id, count): hands over and looks for no completions.
  static napi_value PassOn(napi_env env, napi_callback_info info);
  // waitRing(id, timeoutMs, atLeast): blocks as Ring::Wait; how many completions are in the array then.
  static Napi::Value Wait(const Napi::CallbackInfo& info);
  // cancelRing(id, slot, generation)
  static Napi::Value Cancel(const Napi::CallbackInfo& info);
  // setRingFile(id, index, fd or -1): 0 or a negative errno.
  static Napi::Value SetFile(const Napi::CallbackInfo& info);
  // setRingBuffer(id, index, bytes or undefined): 0 or a negative errno.
  static Napi::Value SetBuffer(const Napi::CallbackInfo& info);
  // ringUse(id): { enters, fixedFileOperations, fixedBufferOperations }
  static Napi::Value Use(const Napi::CallbackInfo& info);
  // closeRing(id): waits for what is outstanding, without delivering it.
  static Napi::Value CloseById(const Napi::CallbackInfo& info);

  void Close();

 private:
  RingBinding(EnvState* state, std::unique_ptr<Ring> ring) : state_(state), ring_(std::move(ring)) {}
  static RingBinding* Find(const Napi::CallbackInfo& info);
  static RingBinding* WithCommands(napi_env env, napi_callback_info info, uint32_t* count);
  bool SubmitCommands(uint32_t count);
  int PrepareOne(const double* command, napi_value held);
  uint32_t Deliver();
  void KeepHeld();
  void ReleaseReferences();
  void NoteDescriptors(const RingCompletion& completion);
  void UpdateLoopReference();
  static void OnReadable(uv_poll_t* handle, int status, int events);

  EnvState* state_;
  std::unique_ptr<Ring> ring_;
  uint32_t id_ = 0;
  uv_poll_t poll_;
  bool loopReferenced_ = false;
  napi_ref onCompletions_ = nullptr;
  napi_ref held_ = nullptr;
  napi_ref commandsRef_ = nullptr;
  napi_ref completionsRef_ = nullptr;
  double* commands_ = nullptr;
  int32_t* completions_ = nullptr;
  std::vector<RingCompletion> harvested_;
  uint32_t capacity_ = 0;        // completions that the array takes
  std::vector<MemoryPin> pins_;  // by slot, of reads and writes
  std::vector<int> closingFds_;  // by slot, of close operations
  std::vector<napi_ref> registered_;  // by index, memory that the kernel keeps pinned
};

}  // namespace holt
