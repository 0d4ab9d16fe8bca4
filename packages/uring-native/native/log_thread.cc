#include "log_thread.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>

#include "blocking.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace holt {
namespace {

// Small enough that a write that comes in meanwhile waits a few hundred microseconds at most.
constexpr size_t kPopulatePieceBytes = 256 * 1024;

constexpr uint64_t kNsPerMs = 1000 * 1000;

}  // namespace

Napi::Value LogThread::Create(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  EnvState* state = EnvState::Of(env);
  auto* thread = new LogThread(state);
  uv_mutex_init(&thread->mutex_);
  uv_cond_init(&thread->wake_);
  uv_async_init(state->loop(), &thread->async_, OnDone);
  state->HandleOpened();
  uv_unref(reinterpret_cast<uv_handle_t*>(&thread->async_));
  thread->async_.data = thread;
  thread->id_ = state->nextId++;
  napi_create_reference(env, info[0], 1, &thread->onDone_);
  const int started =
      uv_thread_create(&thread->thread_, [](void* self) { static_cast<LogThread*>(self)->Run(); }, thread);
  if (started != 0) {
    napi_delete_reference(env, thread->onDone_);
    uv_close(reinterpret_cast<uv_handle_t*>(&thread->async_), [](uv_handle_t* handle) {
      auto* unstarted = static_cast<LogThread*>(handle->data);
      EnvState* owner = unstarted->state_;
      uv_mutex_destroy(&unstarted->mutex_);
      uv_cond_destroy(&unstarted->wake_);
      delete unstarted;
      owner->HandleClosed();
    });
    return Napi::Number::New(env, started);
  }
  state->logThreads.emplace(thread->id_, thread);
  return Napi::Number::New(env, thread->id_);
}

LogThread* LogThread::Find(const Napi::CallbackInfo& info) {
  EnvState* state = EnvState::Of(info.Env());
  const auto found = state->logThreads.find(info[0].ToNumber().Uint32Value());
  if (found != state->logThreads.end()) return found->second;
  Napi::Error::New(info.Env(), "the log thread is closed").ThrowAsJavaScriptException();
  return nullptr;
}

void LogThread::CountLoopReference(int change) {
  const bool before = loopReferences_ > 0;
  loopReferences_ += change;
  const bool after = loopReferences_ > 0;
  if (before == after) return;
  auto* handle = reinterpret_cast<uv_handle_t*>(&async_);
  if (after) {
    uv_ref(handle);
  } else {
    uv_unref(handle);
  }
}

void LogThread::Give(std::unique_ptr<Command> command) {
  if (command->keepsLoopAlive) CountLoopReference(1);
  uv_mutex_lock(&mutex_);
  if (command->dueNs != 0) {
    delayed_.push_back(std::move(command));
  } else {
    queue_.push_back(std::move(command));
  }
  uv_cond_signal(&wake_);
  uv_mutex_unlock(&mutex_);
}

Napi::Value LogThread::WriteDsync(const Napi::CallbackInfo& info) {
  LogThread* thread = Find(info);
  if (thread == nullptr) return info.Env().Undefined();
  const Napi::Uint8Array bytes = info[3].As<Napi::Uint8Array>();
  auto command = std::make_unique<Command>();
  command->id = info[1].ToNumber().Uint32Value();
  command->kind = Kind::kWriteDsync;
  command->fd = info[2].ToNumber().Int32Value();
  void* data = nullptr;
  napi_value buffer = nullptr;
  size_t offset = 0;
  napi_get_typedarray_info(info.Env(), bytes, nullptr, &command->length, &data, &buffer, &offset);
  command->data = static_cast<const uint8_t*>(data);
  if (!PinMemory(info.Env(), buffer, command->data - offset, &command->pin)) {
    Napi::Error::New(info.Env(), "the bytes cannot be held while they are written").ThrowAsJavaScriptException();
    return info.Env().Undefined();
  }
  command->offset = info[4].ToNumber().Int64Value();
  command->region = thread->state_->mappings->FindAround(command->data);
  napi_create_reference(info.Env(), bytes, 1, &command->bytes);
  thread->Give(std::move(command));
  return info.Env().Undefined();
}

Napi::Value LogThread::Sync(const Napi::CallbackInfo& info) {
  LogThread* thread = Find(info);
  if (thread == nullptr) return info.Env().Undefined();
  auto command = std::make_unique<Command>();
  command->id = info[1].ToNumber().Uint32Value();
  command->kind = Kind::kSync;
  command->fd = info[2].ToNumber().Int32Value();
  thread->Give(std::move(command));
  return info.Env().Undefined();
}

Napi::Value LogThread::SyncAfter(const Napi::CallbackInfo& info) {
  LogThread* thread = Find(info);
  if (thread == nullptr) return info.Env().Undefined();
  auto command = std::make_unique<Command>();
  command->id = info[1].ToNumber().Uint32Value();
  command->kind = Kind::kSync;
  command->fd = info[2].ToNumber().Int32Value();
  command->dueNs = uv_hrtime() + static_cast<uint64_t>(info[3].ToNumber().DoubleValue() * kNsPerMs);
  command->keepsLoopAlive = false;
  thread->Give(std::move(command));
  return info.Env().Undefined();
}

Napi::Value LogThread::Cancel(const Napi::CallbackInfo& info) {
  LogThread* thread = Find(info);
  if (thread == nullptr) return info.Env().Undefined();
  const uint32_t id = info[1].ToNumber().Uint32Value();
  uv_mutex_lock(&thread->mutex_);
  const auto found = std::find_if(thread->delayed_.begin(), thread->delayed_.end(),
                                  [id](const auto& command) { return command->id == id; });
  const bool cancelled = found != thread->delayed_.end();
  if (cancelled) thread->delayed_.erase(found);
  uv_mutex_unlock(&thread->mutex_);
  return Napi::Boolean::New(info.Env(), cancelled);
}

Napi::Value LogThread::Truncate(const Napi::CallbackInfo& info) {
  LogThread* thread = Find(info);
  if (thread == nullptr) return info.Env().Undefined();
  auto command = std::make_unique<Command>();
  command->id = info[1].ToNumber().Uint32Value();
  command->kind = Kind::kTruncate;
  command->fd = info[2].ToNumber().Int32Value();
  command->offset = info[3].ToNumber().Int64Value();
  thread->Give(std::move(command));
  return info.Env().Undefined();
}

Napi::Value LogThread::AppendZeros(const Napi::CallbackInfo& info) {
  LogThread* thread = Find(info);
  if (thread == nullptr) return info.Env().Undefined();
  auto command = std::make_unique<Command>();
  command->id = info[1].ToNumber().Uint32Value();
  command->kind = Kind::kAppendZeros;
  command->fd = info[2].ToNumber().Int32Value();
  command->offset = info[3].ToNumber().Int64Value();
  thread->Give(std::move(command));
  return info.Env().Undefined();
}

Napi::Value LogThread::Barrier(const Napi::CallbackInfo& info) {
  LogThread* thread = Find(info);
  if (thread == nullptr) return info.Env().Undefined();
  auto command = std::make_unique<Command>();
  command->id = info[1].ToNumber().Uint32Value();
  thread->Give(std::move(command));
  return info.Env().Undefined();
}

Napi::Value LogThread::Populate(const Napi::CallbackInfo& info) {
  LogThread* thread = Find(info);
  if (thread == nullptr) return info.Env().Undefined();
  auto region = thread->state_->mappings->Find(info[1].ToNumber().Uint32Value());
  if (region == nullptr) return info.Env().Undefined();
  const auto pageBytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const auto from = static_cast<size_t>(info[2].ToNumber().Int64Value());
  const size_t end = std::min(region->length(), from + static_cast<size_t>(info[3].ToNumber().Int64Value()));
  const size_t start = from / pageBytes * pageBytes;
  if (start >= end) return info.Env().Undefined();
  uv_mutex_lock(&thread->mutex_);
  thread->populate_.push_back({std::move(region), start, end - start});
  uv_cond_signal(&thread->wake_);
  uv_mutex_unlock(&thread->mutex_);
  return info.Env().Undefined();
}

Napi::Value LogThread::CloseById(const Napi::CallbackInfo& info) {
  EnvState* state = EnvState::Of(info.Env());
  const auto found = state->logThreads.find(info[0].ToNumber().Uint32Value());
  if (found != state->logThreads.end()) found->second->Close();
  return info.Env().Undefined();
}

// ---- on the thread -----------------------------------------------------------------------------------------------

int LogThread::Execute(const Command& command) {
  switch (command.kind) {
    case Kind::kWriteDsync:
      return WriteFully(command.fd, command.data, command.length, command.offset, true);
    case Kind::kSync:
      return DataSync(command.fd);
    case Kind::kTruncate:
      return TruncateFile(command.fd, command.offset);
    case Kind::kAppendZeros:
      return holt::AppendZeros(command.fd, command.offset);
    case Kind::kBarrier:
      return 0;
  }
  return -EINVAL;
}

void LogThread::MoveDueCommands() {
  if (delayed_.empty()) return;
  const uint64_t now = uv_hrtime();
  for (size_t i = 0; i < delayed_.size();) {
    if (delayed_[i]->dueNs > now) {
      i++;
      continue;
    }
    queue_.push_back(std::move(delayed_[i]));
    delayed_.erase(delayed_.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

void LogThread::DropDetachedRanges() {
  const auto gone = [](const PopulateRange& range) { return range.region->isDetached(); };
  populate_.erase(std::remove_if(populate_.begin(), populate_.end(), gone), populate_.end());
}

// With the mutex held, which is let go while the pages come.
void LogThread::PopulateOnePiece() {
  PopulateRange& range = populate_.front();
  const std::shared_ptr<MappedRegion> region = range.region;
  uint8_t* start = region->address() + range.offset;
  const size_t length = std::min(range.length, kPopulatePieceBytes);
  range.offset += length;
  range.length -= length;
  if (range.length == 0) populate_.pop_front();
  uv_mutex_unlock(&mutex_);
  // A kernel without it (before 5.14) says EINVAL: the pages come at first touch then, as without populating.
  const int advised = madvise(start, length, MADV_POPULATE_WRITE);
  static_cast<void>(advised);
  uv_mutex_lock(&mutex_);
}

void LogThread::Run() {
  uv_mutex_lock(&mutex_);
  while (!stopping_) {
    MoveDueCommands();
    if (!queue_.empty()) {
      std::unique_ptr<Command> command = std::move(queue_.front());
      queue_.pop_front();
      if (command->kind == Kind::kBarrier) DropDetachedRanges();
      uv_mutex_unlock(&mutex_);
      command->result = Execute(*command);
      // Lets the region go before JavaScript hears of it: an unmap that waited for this is then over.
      command->region.reset();
      uv_mutex_lock(&mutex_);
      done_.push_back(std::move(command));
      uv_async_send(&async_);
    } else if (!populate_.empty()) {
      PopulateOnePiece();
    } else if (!delayed_.empty()) {
      uint64_t due = delayed_.front()->dueNs;
      for (const auto& command : delayed_) due = std::min(due, command->dueNs);
      const uint64_t now = uv_hrtime();
      if (due > now) uv_cond_timedwait(&wake_, &mutex_, due - now);
    } else {
      uv_cond_wait(&wake_, &mutex_);
    }
  }
  uv_mutex_unlock(&mutex_);
}

// ---- back on the environment's thread ------------------------------------------------------------------------------

void LogThread::OnDone(uv_async_t* handle) {
  auto* thread = static_cast<LogThread*>(handle->data);
  EnvState* state = thread->state_;
  const napi_env env = state->env();
  const uint32_t id = thread->id_;
  std::vector<std::unique_ptr<Command>> done;
  uv_mutex_lock(&thread->mutex_);
  done.swap(thread->done_);
  uv_mutex_unlock(&thread->mutex_);
  for (const auto& command : done) {
    if (command->bytes != nullptr) napi_delete_reference(env, command->bytes);
    if (command->keepsLoopAlive) thread->CountLoopReference(-1);
  }
  for (const auto& command : done) {
    const Napi::HandleScope scope(env);
    napi_value arguments[2];
    napi_create_uint32(env, command->id, &arguments[0]);
    napi_create_int32(env, command->result, &arguments[1]);
    state->CallBack(thread->onDone_, 2, arguments);
    // The callback may have closed the thread.
    const auto found = state->logThreads.find(id);
    if (found == state->logThreads.end()) return;
  }
}

void LogThread::Close() {
  uv_mutex_lock(&mutex_);
  stopping_ = true;
  uv_cond_signal(&wake_);
  uv_mutex_unlock(&mutex_);
  uv_thread_join(&thread_);
  state_->logThreads.erase(id_);
  const napi_env env = state_->env();
  for (const auto& command : queue_) {
    if (command->bytes != nullptr) napi_delete_reference(env, command->bytes);
  }
  for (const auto& command : done_) {
    if (command->bytes != nullptr) napi_delete_reference(env, command->bytes);
  }
  queue_.clear();
  delayed_.clear();
  populate_.clear();
  done_.clear();
  napi_delete_reference(env, onDone_);
  uv_close(reinterpret_cast<uv_handle_t*>(&async_), [](uv_handle_t* handle) {
    auto* thread = static_cast<LogThread*>(handle->data);
    EnvState* state = thread->state_;
    uv_mutex_destroy(&thread->mutex_);
    uv_cond_destroy(&thread->wake_);
    delete thread;
    state->HandleClosed();
  });
}

}  // namespace holt
