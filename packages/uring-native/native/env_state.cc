#include "env_state.h"

#include <unistd.h>

#include "log_thread.h"
#include "mapping.h"
#include "ring_binding.h"

namespace holt {

EnvState::EnvState(napi_env env) : mappings(new MappingTable()), env_(env) {
  napi_get_uv_event_loop(env, &loop_);
  napi_add_async_cleanup_hook(env, OnEnd, this, &endHook_);
}

EnvState::~EnvState() = default;

EnvState* EnvState::Of(napi_env env) {
  void* data = nullptr;
  napi_get_instance_data(env, &data);
  return static_cast<EnvState*>(data);
}

// The environment ends (exit of its thread, also by terminate): its memory is freed soon, so nothing that is
// outstanding may touch it any longer. Rings are drained, log threads finish the call in hand and are joined, both
// before this returns; then the handles close, and their last callback lets the environment go.
void EnvState::OnEnd(napi_async_cleanup_hook_handle, void* data) {
  auto* state = static_cast<EnvState*>(data);
  state->ended_ = true;
  state->HandleOpened();  // held by this function
  while (!state->rings.empty()) state->rings.begin()->second->Close();
  while (!state->logThreads.empty()) state->logThreads.begin()->second->Close();
  for (const auto& [fd, count] : state->openFds_) close(fd);
  state->openFds_.clear();
  state->HandleClosed();
}

void EnvState::UntrackFd(int fd) {
  const auto found = openFds_.find(fd);
  if (found != openFds_.end() && --found->second == 0) openFds_.erase(found);
}

void EnvState::HandleClosed() {
  handlesOpen_--;
  if (!ended_ || handlesOpen_ > 0 || endHook_ == nullptr) return;
  const napi_async_cleanup_hook_handle hook = endHook_;
  endHook_ = nullptr;
  napi_remove_async_cleanup_hook(hook);
}

void EnvState::CallBack(napi_ref function, size_t count, const napi_value* values) {
  if (ended_) return;
  napi_value callback;
  napi_value receiver;
  if (napi_get_reference_value(env_, function, &callback) != napi_ok || callback == nullptr) return;
  if (napi_get_global(env_, &receiver) != napi_ok) return;
  napi_value result;
  const napi_status status = napi_make_callback(env_, nullptr, receiver, callback, count, values, &result);
  if (status != napi_pending_exception) return;
  napi_value error;
  // A worker that is being terminated ends its callbacks this way too, with nothing to report.
  if (napi_get_and_clear_last_exception(env_, &error) == napi_ok) napi_fatal_exception(env_, error);
}

}  // namespace holt
