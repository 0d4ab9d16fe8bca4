#include "mapping.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/vfs.h>

#include "blocking.h"
#include "env_state.h"

namespace holt {
namespace {

// File systems where overwriting an allocated byte needs no new space, so that a store to the mapping cannot fail.
bool OverwritesInPlace(int fd) {
  struct statfs fs;
  if (fstatfs(fd, &fs) != 0) return false;
  switch (static_cast<uint32_t>(fs.f_type)) {
    case 0xEF53u:      // ext2, ext3, ext4
    case 0x58465342u:  // XFS
    case 0x01021994u:  // tmpfs
      return true;
    default:
      return false;
  }
}

void OnBufferGone(napi_env env, void*, void* hint) {
  auto* wrapper = static_cast<MappingWrapper*>(hint);
  wrapper->table->wrappers.erase(wrapper->id);
  if (wrapper->buffer != nullptr) napi_delete_reference(env, wrapper->buffer);
  delete wrapper;
}

}  // namespace

MappedRegion::~MappedRegion() { munmap(address_, length_); }

std::shared_ptr<MappedRegion> MappingTable::Find(uint32_t id) const {
  const auto found = wrappers.find(id);
  return found == wrappers.end() ? nullptr : found->second->region;
}

std::shared_ptr<MappedRegion> MappingTable::FindAround(const uint8_t* data) const {
  for (const auto& [id, wrapper] : wrappers) {
    if (wrapper->region->Contains(data)) return wrapper->region;
  }
  return nullptr;
}

Napi::Value MapFile(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  EnvState* state = EnvState::Of(env);
  const int fd = info[0].ToNumber().Int32Value();
  const int64_t length = info[1].ToNumber().Int64Value();
  if (length <= 0) return Napi::Number::New(env, -EINVAL);

  const int64_t size = FileSize(fd);
  if (size < 0) return Napi::Number::New(env, static_cast<double>(size));
  // A store beyond the end of the file would be a bus error.
  if (size < length || !OverwritesInPlace(fd)) return env.Undefined();
  void* address = mmap(nullptr, static_cast<size_t>(length), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (address == MAP_FAILED) return Napi::Number::New(env, -errno);

  std::shared_ptr<MappedRegion> region(
      new MappedRegion(static_cast<uint8_t*>(address), static_cast<size_t>(length)));
  auto* wrapper = new MappingWrapper{state->nextId++, region, state->mappings};
  state->mappings->wrappers.emplace(wrapper->id, wrapper);
  napi_value buffer;
  const napi_status status =
      napi_create_external_arraybuffer(env, address, region->length(), OnBufferGone, wrapper, &buffer);
  if (status != napi_ok) {
    // No external memory in this JavaScript engine (napi_no_external_buffers_allowed), or no address space.
    OnBufferGone(env, nullptr, wrapper);
    if (env.IsExceptionPending()) env.GetAndClearPendingException();
    return env.Undefined();
  }
  napi_create_reference(env, buffer, 0, &wrapper->buffer);
  Napi::Object result = Napi::Object::New(env);
  result.Set("id", Napi::Number::New(env, wrapper->id));
  result.Set("buffer", Napi::Value(env, buffer));
  return result;
}

Napi::Value DetachMapping(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  EnvState* state = EnvState::Of(env);
  const auto found = state->mappings->wrappers.find(info[0].ToNumber().Uint32Value());
  if (found == state->mappings->wrappers.end()) return Napi::Boolean::New(env, false);
  MappingWrapper* wrapper = found->second;
  state->mappings->wrappers.erase(found);
  const std::shared_ptr<MappedRegion> region = std::move(wrapper->region);
  region->SetDetached();
  const napi_ref reference = wrapper->buffer;
  wrapper->buffer = nullptr;
  // The finalizer runs at some time after the detaching and frees the wrapper: not to be touched after this.
  napi_value buffer = nullptr;
  napi_get_reference_value(env, reference, &buffer);
  if (buffer != nullptr) napi_detach_arraybuffer(env, buffer);
  napi_delete_reference(env, reference);
  return Napi::Boolean::New(env, true);
}

}  // namespace holt
