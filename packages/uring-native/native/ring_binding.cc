#include "ring_binding.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace holt {
namespace {

constexpr size_t kCommandNumbers = 10;
constexpr size_t kCompletionNumbers = 3;
constexpr size_t kCompletionsFrom = 2;
constexpr uint32_t kSmallestArray = 64;
constexpr size_t kStatxBytes = 256;
constexpr uint8_t kRequiredOpcodes[] = {kOpNop,  kOpFsync, kOpFallocate, kOpOpenat,   kOpClose,  kOpStatx,
                                        kOpRead, kOpWrite, kOpRenameat,  kOpUnlinkat, kOpLinkat};

struct Bytes {
  uint8_t* data = nullptr;
  size_t length = 0;
  napi_value buffer = nullptr;
  size_t offset = 0;  // in the buffer
};

Bytes BytesAt(napi_env env, napi_value held, uint32_t index) {
  napi_value element;
  napi_typedarray_type type;
  void* data = nullptr;
  Bytes bytes;
  if (napi_get_element(env, held, index, &element) != napi_ok) return {};
  if (napi_get_typedarray_info(env, element, &type, &bytes.length, &data, &bytes.buffer, &bytes.offset) != napi_ok) {
    return {};
  }
  if (type != napi_uint8_array) return {};
  bytes.data = static_cast<uint8_t*>(data);
  return bytes;
}

// A path as the kernel wants it: ended by NUL, so that it cannot read beyond.
const char* PathAt(napi_env env, napi_value held, uint32_t index) {
  const Bytes bytes = BytesAt(env, held, index);
  if (bytes.length == 0 || bytes.data[bytes.length - 1] != 0) return nullptr;
  return reinterpret_cast<const char*>(bytes.data);
}

uint64_t Address(const void* pointer) { return static_cast<uint64_t>(reinterpret_cast<uintptr_t>(pointer)); }

}  // namespace

Napi::Value RingBinding::Create(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  EnvState* state = EnvState::Of(env);
  RingOptions options;
  options.entries = info[0].ToNumber().Uint32Value();
  options.submissionThreadIdleMs = info[1].ToNumber().Int32Value();
  options.fileTable = info[2].ToNumber().Uint32Value();
  options.bufferTable = info[3].ToNumber().Uint32Value();
  int error = 0;
  std::unique_ptr<Ring> ring = Ring::Create(options, &error);
  if (ring == nullptr) return Napi::Number::New(env, error);
  for (const uint8_t opcode : kRequiredOpcodes) {
    if (!ring->Supports(opcode)) return Napi::Number::New(env, -EOPNOTSUPP);
  }
  auto* binding = new RingBinding(state, std::move(ring));
  const uint32_t entries = binding->ring_->entries();
  const int polled = uv_poll_init(state->loop(), &binding->poll_, binding->ring_->eventFd());
  if (polled != 0) {
    delete binding;
    return Napi::Number::New(env, polled);
  }
  state->HandleOpened();
  binding->poll_.data = binding;
  uv_poll_start(&binding->poll_, UV_READABLE, OnReadable);
  uv_unref(reinterpret_cast<uv_handle_t*>(&binding->poll_));

  // Larger than what an engine keeps inside its moving heap, so the addresses hold for the arrays' lives. A harvest may
  // hold what was outstanding and what the completion queue holds beyond that.
  const uint32_t places = entries < kSmallestArray ? kSmallestArray : entries;
  binding->capacity_ = places + binding->ring_->completionEntries();
  const Napi::Array held = Napi::Array::New(env, 2 * entries);
  Napi::Float64Array commands = Napi::Float64Array::New(env, kCommandNumbers * places);
  Napi::Int32Array completions =
      Napi::Int32Array::New(env, kCompletionsFrom + kCompletionNumbers * binding->capacity_);
  binding->commands_ = commands.Data();
  binding->completions_ = completions.Data();
  napi_create_reference(env, info[4], 1, &binding->onCompletions_);
  napi_create_reference(env, held, 1, &binding->held_);
  napi_create_reference(env, commands, 1, &binding->commandsRef_);
  napi_create_reference(env, completions, 1, &binding->completionsRef_);
  binding->harvested_.reserve(binding->capacity_);
  binding->pins_.resize(entries);
  binding->closingFds_.assign(entries, -1);
  binding->registered_.assign(options.bufferTable, nullptr);
  binding->id_ = state->nextId++;
  state->rings.emplace(binding->id_, binding);

  const Ring& made = *binding->ring_;
  const Napi::Array opcodes = Napi::Array::New(env);
  for (uint32_t opcode = 0; opcode < kNoOpcode; opcode++) {
    if (made.Supports(static_cast<uint8_t>(opcode))) opcodes.Set(opcodes.Length(), Napi::Number::New(env, opcode));
  }
  Napi::Object result = Napi::Object::New(env);
  const auto number = [&](const char* name, double value) { result.Set(name, Napi::Number::New(env, value)); };
  number("id", binding->id_);
  number("entries", entries);
  number("completionEntries", made.completionEntries());
  number("setupFlags", made.setupFlags());
  number("submissionThreadRefusal", made.submissionThreadRefusal());
  number("fileTableRefusal", made.fileTableRefusal());
  number("bufferTableRefusal", made.bufferTableRefusal());
  result.Set("opcodes", opcodes);
  result.Set("held", held);
  result.Set("commands", commands);
  result.Set("completions", completions);
  return result;
}

// Fills one submission entry. A negative result says what is wrong with the command, before the kernel saw it.
int RingBinding::PrepareOne(const double* command, napi_value held) {
  const napi_env env = state_->env();
  const auto opcode = static_cast<uint8_t>(command[0]);
  const auto slot = static_cast<uint32_t>(command[1]);
  const auto fd = static_cast<int32_t>(command[2]);
  const auto offset = static_cast<uint64_t>(command[3]);
  const auto start = static_cast<uint64_t>(command[4]);
  const auto length = static_cast<uint32_t>(command[5]);
  const auto flags = static_cast<uint32_t>(command[6]);
  const auto generation = static_cast<uint32_t>(command[8]);

  // Everything that can be refused is looked at before a slot is taken.
  if (!ring_->IsFree(slot)) return -EBUSY;
  io_uring_sqe filled = {};
  filled.fd = fd;
  filled.flags = static_cast<uint8_t>(command[7]) & (kEntryLink | kEntryHardLink);
  if (command[9] >= 0) {
    filled.fd = static_cast<int32_t>(command[9]);
    filled.flags |= kEntryFixedFile;
  }
  switch (opcode) {
    case kOpRead:
    case kOpWrite: {
      const Bytes bytes = BytesAt(env, held, 2 * slot);
      if (start > bytes.length || length > bytes.length - start) return -EFAULT;
      filled.off = offset;
      filled.addr = Address(bytes.data + start);
      filled.len = length;
      if (!PinMemory(env, bytes.buffer, bytes.data - bytes.offset, &pins_[slot])) return -EFAULT;
      break;
    }
    case kOpFsync:
      filled.fsync_flags = flags;
      break;
    case kOpFallocate:
      // The kernel has the length in `addr`, the mode in `len`.
      filled.off = offset;
      filled.addr = start;
      filled.len = length;
      break;
    case kOpFtruncate:
      filled.off = offset;
      break;
    case kOpClose:
      if (slot < closingFds_.size()) closingFds_[slot] = fd;
      break;
    case kOpNop:
      break;
    case kOpStatx: {
      const Bytes bytes = BytesAt(env, held, 2 * slot);
      if (bytes.length < kStatxBytes) return -EFAULT;
      filled.addr = Address("");
      filled.off = Address(bytes.data);
      filled.len = length;
      filled.statx_flags = AT_EMPTY_PATH;
      break;
    }
    case kOpOpenat:
    case kOpMkdirat:
    case kOpUnlinkat: {
      const char* path = PathAt(env, held, 2 * slot);
      if (path == nullptr) return -EFAULT;
      filled.fd = AT_FDCWD;
      filled.addr = Address(path);
      filled.len = length;
      filled.open_flags = flags;
      break;
    }
    case kOpRenameat:
    case kOpLinkat: {
      const char* from = PathAt(env, held, 2 * slot);
      const char* to = PathAt(env, held, 2 * slot + 1);
      if (from == nullptr || to == nullptr) return -EFAULT;
      filled.fd = AT_FDCWD;
      filled.addr = Address(from);
      filled.off = Address(to);
      filled.len = static_cast<uint32_t>(AT_FDCWD);
      break;
    }
    default:
      return -EINVAL;
  }
  ring_->Prepare(slot, generation, opcode, filled);
  return 0;
}

bool RingBinding::SubmitCommands(uint32_t count) {
  napi_value held;
  if (napi_get_reference_value(state_->env(), held_, &held) != napi_ok) return false;
  const auto refuse = [this](uint32_t at, int error) {
    const double* command = commands_ + kCommandNumbers * at;
    harvested_.push_back({static_cast<uint32_t>(command[1]), static_cast<uint32_t>(command[8]), error, kNoOpcode});
  };
  for (uint32_t first = 0; first < count;) {
    uint32_t end = first + 1;
    while (end < count && static_cast<uint8_t>(commands_[kCommandNumbers * (end - 1) + 7]) != 0) end++;
    for (uint32_t at = first; at < end; at++) {
      const int error = PrepareOne(commands_ + kCommandNumbers * at, held);
      if (error == 0) continue;
      ring_->Unprepare(at - first);
      for (uint32_t other = first; other < end; other++) refuse(other, other == at ? error : -ECANCELED);
      break;
    }
    first = end;
  }
  ring_->Submit(&harvested_);
  return true;
}

void RingBinding::NoteDescriptors(const RingCompletion& completion) {
  if (completion.opcode == kOpOpenat && completion.result >= 0) state_->TrackFd(completion.result);
  // Whatever else close() reports, the descriptor is gone, unless it was never tried.
  if (completion.opcode == kOpClose && completion.result != -ECANCELED) {
    state_->UntrackFd(closingFds_[completion.slot]);
  }
}

// Moves what was harvested into JavaScript's array. What does not fit matches nothing that is outstanding.
uint32_t RingBinding::Deliver() {
  uint32_t count = 0;
  for (const RingCompletion& completion : harvested_) {
    NoteDescriptors(completion);
    if (count >= capacity_) break;
    if (ring_->IsFree(completion.slot)) pins_[completion.slot].reset();
    int32_t* place = completions_ + kCompletionsFrom + kCompletionNumbers * count++;
    place[0] = static_cast<int32_t>(completion.slot);
    place[1] = static_cast<int32_t>(completion.generation);
    place[2] = completion.result;
  }
  harvested_.clear();
  completions_[0] = static_cast<int32_t>(ring_->owned());
  completions_[1] = ring_->broken();
  return count;
}

// The ring that is called, if there are as many commands for it as there may be.
RingBinding* RingBinding::WithCommands(napi_env env, napi_callback_info info, uint32_t* count) {
  size_t argc = 2;
  napi_value args[2];
  void* data = nullptr;
  napi_get_cb_info(env, info, &argc, args, nullptr, &data);
  auto* state = static_cast<EnvState*>(data);
  uint32_t id = 0;
  napi_get_value_uint32(env, args[0], &id);
  napi_get_value_uint32(env, args[1], count);
  const auto found = state->rings.find(id);
  return found == state->rings.end() || *count > found->second->ring_->entries() ? nullptr : found->second;
}

napi_value RingBinding::Submit(napi_env env, napi_callback_info info) {
  uint32_t count = 0;
  RingBinding* binding = WithCommands(env, info, &count);
  napi_value result;
  if (binding == nullptr) {
    napi_create_int32(env, -EBADF, &result);
    return result;
  }
  binding->SubmitCommands(count);
  binding->ring_->Harvest(&binding->harvested_);
  const uint32_t delivered = binding->Deliver();
  binding->UpdateLoopReference();
  napi_create_uint32(env, delivered, &result);
  return result;
}

// The signal stays off until the completions are looked for.
napi_value RingBinding::PassOn(napi_env env, napi_callback_info info) {
  uint32_t count = 0;
  RingBinding* binding = WithCommands(env, info, &count);
  if (binding != nullptr) binding->SubmitCommands(count);
  return nullptr;
}

void RingBinding::UpdateLoopReference() {
  const bool wanted = ring_->owned() > 0;
  if (wanted == loopReferenced_) return;
  loopReferenced_ = wanted;
  auto* handle = reinterpret_cast<uv_handle_t*>(&poll_);
  if (wanted) {
    uv_ref(handle);
  } else {
    uv_unref(handle);
  }
}

void RingBinding::OnReadable(uv_poll_t* handle, int, int) {
  auto* binding = static_cast<RingBinding*>(handle->data);
  EnvState* state = binding->state_;
  uint64_t signals;
  while (read(binding->ring_->eventFd(), &signals, sizeof(signals)) < 0 && errno == EINTR) {
  }
  binding->ring_->Harvest(&binding->harvested_);
  const Napi::HandleScope scope(state->env());
  const uint32_t count = binding->Deliver();
  binding->UpdateLoopReference();
  // Without completions there is still news when one was lost, or the ring broke.
  if (count == 0 && binding->ring_->owned() == binding->ring_->inFlight() && binding->ring_->broken() == 0) return;
  napi_value argument;
  napi_create_uint32(state->env(), count, &argument);
  // May close this binding: nothing of it is used afterwards.
  state->CallBack(binding->onCompletions_, 1, &argument);
}

RingBinding* RingBinding::Find(const Napi::CallbackInfo& info) {
  EnvState* state = EnvState::Of(info.Env());
  const auto found = state->rings.find(info[0].ToNumber().Uint32Value());
  return found == state->rings.end() ? nullptr : found->second;
}

Napi::Value RingBinding::Wait(const Napi::CallbackInfo& info) {
  RingBinding* binding = Find(info);
  if (binding == nullptr) return Napi::Number::New(info.Env(), -EBADF);
  binding->ring_->Wait(info[1].ToNumber().DoubleValue(), info[2].ToNumber().Uint32Value());
  binding->ring_->Harvest(&binding->harvested_);
  const uint32_t delivered = binding->Deliver();
  binding->UpdateLoopReference();
  return Napi::Number::New(info.Env(), delivered);
}

Napi::Value RingBinding::Cancel(const Napi::CallbackInfo& info) {
  RingBinding* binding = Find(info);
  if (binding != nullptr) {
    binding->ring_->Cancel(info[1].ToNumber().Uint32Value(), info[2].ToNumber().Uint32Value());
  }
  return info.Env().Undefined();
}

Napi::Value RingBinding::SetFile(const Napi::CallbackInfo& info) {
  RingBinding* binding = Find(info);
  const int result = binding == nullptr ? -EBADF
                                        : binding->ring_->SetFile(info[1].ToNumber().Uint32Value(),
                                                                  info[2].ToNumber().Int32Value());
  return Napi::Number::New(info.Env(), result);
}

Napi::Value RingBinding::SetBuffer(const Napi::CallbackInfo& info) {
  RingBinding* binding = Find(info);
  const uint32_t index = info[1].ToNumber().Uint32Value();
  if (binding == nullptr || index >= binding->registered_.size()) return Napi::Number::New(info.Env(), -EBADF);
  void* data = nullptr;
  size_t length = 0;
  if (info[2].IsTypedArray()) {
    napi_get_typedarray_info(info.Env(), info[2], nullptr, &length, &data, nullptr, nullptr);
  }
  const int result = binding->ring_->SetBuffer(index, static_cast<uint8_t*>(data), length);
  napi_ref& reference = binding->registered_[index];
  if (data == nullptr || result == 0) {
    if (reference != nullptr) napi_delete_reference(info.Env(), reference);
    reference = nullptr;
    if (data != nullptr) napi_create_reference(info.Env(), info[2], 1, &reference);
  }
  return Napi::Number::New(info.Env(), result);
}

Napi::Value RingBinding::Use(const Napi::CallbackInfo& info) {
  RingBinding* binding = Find(info);
  const RingUse use = binding == nullptr ? RingUse{} : binding->ring_->use();
  Napi::Object result = Napi::Object::New(info.Env());
  const auto number = [&](const char* name, uint64_t value) {
    result.Set(name, Napi::Number::New(info.Env(), static_cast<double>(value)));
  };
  number("enters", use.enters);
  number("fixedFileOperations", use.fixedFileOperations);
  number("fixedBufferOperations", use.fixedBufferOperations);
  return result;
}

Napi::Value RingBinding::CloseById(const Napi::CallbackInfo& info) {
  EnvState* state = EnvState::Of(info.Env());
  const auto found = state->rings.find(info[0].ToNumber().Uint32Value());
  if (found != state->rings.end()) found->second->Close();
  return info.Env().Undefined();
}

void RingBinding::Close() {
  harvested_.clear();
  const bool drained = ring_->CancelAndDrain(&harvested_);
  for (const RingCompletion& completion : harvested_) {
    NoteDescriptors(completion);
    if (completion.opcode == kOpOpenat && completion.result >= 0) {
      // Nobody will ever learn of it.
      close(completion.result);
      state_->UntrackFd(completion.result);
    }
  }
  state_->rings.erase(id_);
  uv_poll_stop(&poll_);
  ring_.reset();
  // Memory that the kernel may still use is never given back.
  if (drained) {
    ReleaseReferences();
  } else {
    new std::vector<MemoryPin>(std::move(pins_));
    KeepHeld();
  }
  uv_close(reinterpret_cast<uv_handle_t*>(&poll_), [](uv_handle_t* handle) {
    auto* binding = static_cast<RingBinding*>(handle->data);
    EnvState* state = binding->state_;
    delete binding;
    state->HandleClosed();
  });
}

// What is held, in an array that JavaScript cannot empty, and that is never let go.
void RingBinding::KeepHeld() {
  const napi_env env = state_->env();
  const Napi::HandleScope scope(env);
  napi_value held;
  napi_value kept;
  uint32_t count = 0;
  if (napi_get_reference_value(env, held_, &held) != napi_ok || napi_get_array_length(env, held, &count) != napi_ok ||
      napi_create_array_with_length(env, count, &kept) != napi_ok) {
    return;
  }
  for (uint32_t i = 0; i < count; i++) {
    napi_value element;
    if (napi_get_element(env, held, i, &element) == napi_ok) napi_set_element(env, kept, i, element);
  }
  napi_ref never;
  napi_create_reference(env, kept, 1, &never);
}

void RingBinding::ReleaseReferences() {
  const napi_env env = state_->env();
  for (const napi_ref reference : {onCompletions_, held_, commandsRef_, completionsRef_}) {
    napi_delete_reference(env, reference);
  }
  for (const napi_ref reference : registered_) {
    if (reference != nullptr) napi_delete_reference(env, reference);
  }
}

}  // namespace holt
