// What the addon keeps for one JavaScript environment (the main thread or one worker). Nothing is shared between them.
#pragma once

#include <napi.h>
#include <uv.h>

#include <memory>
#include <unordered_map>

namespace holt {

class RingBinding;
class LogThread;
struct MappingTable;

class EnvState {
 public:
  explicit EnvState(napi_env env);
  ~EnvState();
  EnvState(const EnvState&) = delete;
  EnvState& operator=(const EnvState&) = delete;

  static EnvState* Of(napi_env env);

  napi_env env() const { return env_; }
  uv_loop_t* loop() const { return loop_; }
  bool ended() const { return ended_; }

  // Descriptors the addon opened for this environment: its end closes what is left of them. Counted, since the number
  // of a closed one may be handed out again before the completion of the close was seen.
  void TrackFd(int fd) { openFds_[fd]++; }
  void UntrackFd(int fd);

  std::unordered_map<uint32_t, RingBinding*> rings;
  std::unordered_map<uint32_t, LogThread*> logThreads;
  std::shared_ptr<MappingTable> mappings;
  uint32_t nextId = 1;

  // Every libuv handle the addon starts is counted, since the environment may end only after their close callbacks.
  void HandleOpened() { handlesOpen_++; }
  void HandleClosed();

  // Calls a JavaScript function from the event loop, microtasks included; what it throws is an uncaught exception.
  void CallBack(napi_ref function, size_t count, const napi_value* values);

 private:
  static void OnEnd(napi_async_cleanup_hook_handle handle, void* data);

  std::unordered_map<int, int> openFds_;
  napi_env env_;
  uv_loop_t* loop_ = nullptr;
  napi_async_cleanup_hook_handle endHook_ = nullptr;
  int handlesOpen_ = 0;
  bool ended_ = false;
};

}  // namespace holt
