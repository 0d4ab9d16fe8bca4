// A Ring as JavaScript drives it: commands in one array, completions in another, wake-ups by the event loop.
#pragma once

#include <napi.h>
#include <uv.h>

#include <memory>
#include <vector>

#include "env_state.h"
#include "ring.h"

namespace holt {

// Commands, eight numbers each (a Float64Array):
//
//   0 opcode | 1 slot | 2 fd | 3 offset | 4 start or length | 5 length, mode or mask | 6 flags | 7 unused
//
// The buffers of the operation in slot s are held[2 s] and held[2 s + 1]: JavaScript puts them there before submit and
// takes them out after the completion. The array is referenced from here, so whatever the kernel still uses stays
// alive, also when nobody in JavaScript remembers it.
//
// Completions, two numbers each (an Int32Array): slot, result (negative: errno).
class RingBinding {
 public:
  // createRing(entries, onCompletions): { id, entries, setupFlags, held, commands, completions }, or a negative errno.
  static Napi::Value Create(const Napi::CallbackInfo& info);
  // submitRing(id, count): how many completions are in the array already.
  static napi_value Submit(napi_env env, napi_callback_info info);
  // ringInFlight(id)
  static Napi::Value InFlight(const Napi::CallbackInfo& info);
  // closeRing(id): waits for what is outstanding, without delivering it.
  static Napi::Value CloseById(const Napi::CallbackInfo& info);

  void Close();

 private:
  RingBinding(EnvState* state, std::unique_ptr<Ring> ring) : state_(state), ring_(std::move(ring)) {}
  bool SubmitCommands(uint32_t count);
  int PrepareOne(const double* command, napi_value held);
  uint32_t Deliver();
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
  std::vector<int> closingFds_;  // by slot, of close operations
};

}  // namespace holt
