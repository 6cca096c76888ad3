// A server: one line of text in, a line "ok RATE" or "error MESSAGE" out, and float32 samples as they are synthesized.
//
// One scheduler speaks for all clients at once: their decoder steps are run together, and each hears what it would hear
// alone.
//
//   server voice/ 8080 16                                          BUNDLE PORT CLIENTS; port 0: any free one
//   echo "Hello world." | nc localhost 8080 | tail -n +2 | aplay -f FLOAT_LE -r 22050
#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "tacoglow.h"

static bool send_all(int socket, const void* data, std::size_t n) {
  for (ssize_t sent; n > 0; data = static_cast<const char*>(data) + sent, n -= static_cast<std::size_t>(sent))
    if ((sent = send(socket, data, n, 0)) <= 0) return false;
  return true;
}

static bool send_line(int socket, const std::string& line) {
  return send_all(socket, (line + "\n").data(), line.size() + 1);
}

// Sends the speech of a text while it is synthesized. A client that leaves cancels its request.
static void speak(tacoglow_scheduler* scheduler, int socket, const char* text, int rate) {
  tacoglow_request request;
  tacoglow_request_init(&request);
  request.text = text;
  tacoglow_submission submission;
  tacoglow_submission_init(&submission);
  submission.stream = 1;
  tacoglow_handle* handle;
  tacoglow_status status = tacoglow_submit(scheduler, &request, &submission, &handle);
  const float* samples;
  std::size_t n = 0;
  if (status == TACOGLOW_OK) status = tacoglow_handle_next(handle, &samples, &n);
  if (status != TACOGLOW_OK)
    send_line(socket, std::string("error ") + tacoglow_last_error());
  else if (send_line(socket, "ok " + std::to_string(rate)))
    while (n > 0 && send_all(socket, samples, n * sizeof(float)))
      if (tacoglow_handle_next(handle, &samples, &n) != TACOGLOW_OK) break;
  tacoglow_handle_close(handle);
}

// Serves one client after the other; those beyond the number of threads wait in the listener's queue, which is bounded.
static void serve(tacoglow_scheduler* scheduler, int listener, int rate) {
  for (int socket; (socket = accept(listener, nullptr, nullptr)) >= 0; close(socket)) {
    const timeval patience{5, 0};  // seconds: a silent client must not keep a thread
    for (const int way : {SO_RCVTIMEO, SO_SNDTIMEO}) setsockopt(socket, SOL_SOCKET, way, &patience, sizeof patience);
    std::string line;
    for (char c; line.size() < 65536 && recv(socket, &c, 1, 0) == 1 && c != '\n';) line += c;
    speak(scheduler, socket, line.c_str(), rate);
  }
}

static int fail(const char* message) {
  std::fprintf(stderr, "%s\n", message);
  return 2;
}

int main(int argc, char** argv) {
  if (argc != 4 || std::atoi(argv[3]) < 1) return fail("usage: server BUNDLE PORT CLIENTS");
  std::signal(SIGPIPE, SIG_IGN);
  tacoglow_open_options options;
  tacoglow_open_options_init(&options);
  options.threads = 1;  // the scheduler's own threads already run in parallel and would compete for the cores
  tacoglow_voice* voice;
  if (tacoglow_voice_open(argv[1], &options, &voice) != TACOGLOW_OK) return fail(tacoglow_last_error());
  tacoglow_scheduler* scheduler;
  if (tacoglow_scheduler_open(voice, nullptr, &scheduler) != TACOGLOW_OK) return fail(tacoglow_last_error());
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(argv[2])));
  socklen_t size = sizeof address;
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(listener, 16) != 0 ||
      getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    return fail("cannot listen on this port");
  std::vector<std::thread> clients;
  for (int i = 0; i < std::atoi(argv[3]); ++i)
    clients.emplace_back(serve, scheduler, listener, tacoglow_voice_facts(voice)->sampling_rate);
  std::printf("listening on port %d\n", ntohs(address.sin_port));
  std::fflush(stdout);
  for (auto& client : clients) client.join();
}
