// A native thread that makes bytes stable: ranges by RWF_DSYNC, files by fdatasync, at once or by its own clock.
#pragma once

#include <napi.h>
#include <uv.h>

#include <deque>
#include <memory>
#include <vector>

#include "env_state.h"
#include "mapping.h"
#include "memory_pin.h"

namespace holt {

// Commands run one at a time, in the order they were given; a delayed sync joins the queue when its time has come.
// Populating is done in pieces while nothing else waits.
//
//   JavaScript ──command──▶ queue ──▶ thread ──▶ done ──uv_async──▶ JavaScript (id, result)
//                  delayed ──┘ at its time
class LogThread {
 public:
  // createLogThread(onDone): id, or a negative errno.
  static Napi::Value Create(const Napi::CallbackInfo& info);
  // logWriteDsync(thread, command, fd, bytes, offset)
  static Napi::Value WriteDsync(const Napi::CallbackInfo& info);
  // logSync(thread, command, fd)
  static Napi::Value Sync(const Napi::CallbackInfo& info);
  // logSyncAfter(thread, command, fd, delayMs): keeps no loop alive.
  static Napi::Value SyncAfter(const Napi::CallbackInfo& info);
  // logCancel(thread, command): true if a delayed sync was taken back before its time; it will not be reported then.
  static Napi::Value Cancel(const Napi::CallbackInfo& info);
  // logTruncate(thread, command, fd, size)
  static Napi::Value Truncate(const Napi::CallbackInfo& info);
  // logAppendZeros(thread, command, fd, end)
  static Napi::Value AppendZeros(const Napi::CallbackInfo& info);
  // logBarrier(thread, command): done after everything given before; detached mappings are let go.
  static Napi::Value Barrier(const Napi::CallbackInfo& info);
  // logPopulate(thread, mapping, offset, length): reports nothing.
  static Napi::Value Populate(const Napi::CallbackInfo& info);
  // closeLogThread(thread): finishes the command in hand, drops the rest, joins.
  static Napi::Value CloseById(const Napi::CallbackInfo& info);

  void Close();

 private:
  enum class Kind { kWriteDsync, kSync, kTruncate, kAppendZeros, kBarrier };

  struct Command {
    uint32_t id = 0;
    Kind kind = Kind::kBarrier;
    int fd = -1;
    const uint8_t* data = nullptr;
    size_t length = 0;
    int64_t offset = 0;
    uint64_t dueNs = 0;
    bool keepsLoopAlive = true;
    napi_ref bytes = nullptr;              // held until it is done
    MemoryPin pin;                         // of memory that can be transferred away
    std::shared_ptr<MappedRegion> region;  // if the bytes lie in a mapping
    int result = 0;
  };

  struct PopulateRange {
    std::shared_ptr<MappedRegion> region;
    size_t offset;
    size_t length;
  };

  explicit LogThread(EnvState* state) : state_(state) {}
  static LogThread* Find(const Napi::CallbackInfo& info);
  void Give(std::unique_ptr<Command> command);
  void CountLoopReference(int change);
  void Run();
  void MoveDueCommands();
  void DropDetachedRanges();
  void PopulateOnePiece();
  static int Execute(const Command& command);
  static void OnDone(uv_async_t* handle);

  EnvState* state_;
  uint32_t id_ = 0;
  napi_ref onDone_ = nullptr;
  int loopReferences_ = 0;
  uv_async_t async_;
  uv_thread_t thread_;
  uv_mutex_t mutex_;
  uv_cond_t wake_;

  // Under the mutex.
  std::deque<std::unique_ptr<Command>> queue_;
  std::vector<std::unique_ptr<Command>> delayed_;
  std::deque<PopulateRange> populate_;
  std::vector<std::unique_ptr<Command>> done_;
  bool stopping_ = false;
};

}  // namespace holt
