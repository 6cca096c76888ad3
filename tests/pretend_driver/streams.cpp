// Streams, events, captures and graphs.

#include "calls.h"

using namespace pretend;

extern "C" {

CUresult cuStreamCreateWithPriority(Handle* stream, unsigned flags, int) {
  return call(__func__, [&] { need_context(), streams.add(stream, std::make_shared<Stream>(flags)); });
}
CUresult cuStreamCreate(Handle* stream, unsigned flags) { return cuStreamCreateWithPriority(stream, flags, 0); }
CUresult cuStreamDestroy_v2(Handle stream) {
  return release(__func__, [&] {
    const auto gone = streams.remove(stream);
    gone->run_up_to(gone->end());
  });
}
CUresult cuStreamGetFlags(Handle stream, unsigned* flags) {
  return call(__func__, [&] { *flags = find_stream(stream)->flags; });
}
CUresult cuStreamGetPriority(Handle, int* priority) {
  return call(__func__, [&] { *priority = 0; });
}
CUresult cuStreamGetCtx(Handle, Handle* context) {
  return call(__func__, [&] { *context = PRIMARY_CONTEXT; });
}
CUresult cuStreamGetCtx_v2(Handle, Handle* context, Handle* green) {
  return call(__func__, [&] { *context = PRIMARY_CONTEXT, *green = nullptr; });
}
CUresult cuStreamGetDevice(Handle, int* device) {
  return call(__func__, [&] { *device = 0; });
}
CUresult cuStreamGetId(Handle stream, unsigned long long* id) {
  return call(__func__, [&] { *id = reinterpret_cast<unsigned long long>(stream); });
}
CUresult cuStreamSynchronize(Handle handle) {
  return call(__func__, [&] {
    const auto stream = stream_here(handle);
    if (stream->capture != nullptr) stream->invalidate();
    stream->run_up_to(stream->end());
  });
}
CUresult cuStreamWaitEvent(Handle stream, Handle handle, unsigned) {
  return call(__func__, [&] {
    const Event event = *events.get(handle);  // as it was recorded last
    stream_here(stream)->enqueue([=] { event.wait(); });
  });
}
CUresult cuLaunchHostFunc(Handle stream, void (*function)(void*), void* data) {
  return call(__func__, [&] { stream_here(stream)->enqueue([=] { function(data); }); });
}
CUresult cuEventCreate(Handle* event, unsigned flags) {
  return call(__func__, [&] {
    constexpr unsigned DISABLE_TIMING = 2;
    need_context(), events.add(event, std::make_shared<Event>(Event{(flags & DISABLE_TIMING) == 0}));
  });
}
CUresult cuEventRecord(Handle handle, Handle stream) {
  return call(__func__, [&] {
    const auto event = events.get(handle);
    event->stream = stream_here(stream);
    event->captured = event->stream->capture != nullptr;
    event->position = event->stream->end();
  });
}
CUresult cuEventSynchronize(Handle event) {
  return call(__func__, [&] { need_context(), events.get(event)->wait(); });
}
CUresult cuEventQuery(Handle handle) {
  return call(__func__, [&] {
    const auto event = events.get(handle);
    require(event->stream == nullptr || event->stream->done() >= event->position, NOT_READY);
  });
}
CUresult cuEventDestroy_v2(Handle event) {
  return release(__func__, [&] { events.remove(event); });
}
CUresult cuEventElapsedTime(float* milliseconds, Handle first, Handle last) {
  return call(__func__, [&] {
    const auto from = events.get(first), to = events.get(last);
    require(from->timed && to->timed && from->stream && from->stream == to->stream, INVALID_HANDLE);
    require(to->stream->done() >= to->position, NOT_READY);
    *milliseconds = static_cast<float>(to->position - from->position);
  });
}

// Captures and graphs

CUresult cuStreamBeginCapture_v2(Handle handle, int mode) {
  return call(__func__, [&] {
    const auto stream = stream_here(handle);
    require(stream->capture == nullptr && stream->flags != 0, CAPTURE_UNSUPPORTED);
    stream->capture = std::make_unique<Capture>(Capture{static_cast<Mode>(mode), std::this_thread::get_id(), true, {}});
  });
}
CUresult cuStreamEndCapture(Handle handle, Handle* graph) {
  return call(__func__, [&] {
    const auto stream = stream_here(handle);
    *graph = nullptr;
    const auto capture = std::move(stream->capture);
    require(capture != nullptr, INVALID_VALUE);
    require(capture->mode == Mode::RELAXED || capture->thread == std::this_thread::get_id(), CAPTURE_WRONG_THREAD);
    require(capture->valid, CAPTURE_INVALIDATED);
    graphs.add(graph, std::make_shared<Graph>(std::move(capture->nodes)));
  });
}
CUresult cuStreamIsCapturing(Handle stream, int* status) {
  return call(__func__, [&] {
    const auto& capture = find_stream(stream)->capture;
    *status = capture == nullptr ? 0 : capture->valid ? 1 : 2;
  });
}
CUresult cuStreamGetCaptureInfo(Handle stream, int* status, ...) { return cuStreamIsCapturing(stream, status); }
CUresult cuGraphInstantiateWithFlags(Handle* executable, Handle graph, unsigned long long) {
  return call(__func__, [&] { executables.add(executable, std::make_shared<Graph>(*graphs.get(graph))); });
}
// On some drivers, destroying what an invalidated capture returned crashes the process: here it is a fault.
CUresult cuGraphDestroy(Handle graph) {
  return release(__func__, [&] { graphs.remove(graph); });
}
CUresult cuGraphExecDestroy(Handle executable) {
  return release(__func__, [&] { executables.remove(executable); });
}
CUresult cuGraphLaunch(Handle executable, Handle stream) {
  return call(__func__, [&] {
    const auto graph = executables.get(executable);
    stream_here(stream)->enqueue([=] {
      for (const Work& node : *graph) node();
    });
  });
}
}
