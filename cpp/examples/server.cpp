// A server: one line of text in, a line "ok RATE" or "error MESSAGE" out, and float32 samples as they are synthesized.
//
// One scheduler speaks for all clients at once: their decoder steps are run together, and each hears what it would hear
// alone.
//
//   server voice/ 8080 16                                          BUNDLE PORT CLIENTS; port 0: any free one
//   echo "Hello world." | nc localhost 8080 | tail -n +2 | aplay -f FLOAT_LE -r 22050
#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "tacoglow.h"

constexpr std::size_t longest_line = 65536;  // bytes
constexpr int patience = 5;  // seconds to send a line, to take samples, to close: others may wait for it

using std::chrono::duration_cast, std::chrono::milliseconds, std::chrono::seconds, std::chrono::steady_clock;

// Waits until a socket can be read (POLLIN) or written (POLLOUT); returns false if that takes too long.
static bool wait_for(int socket, short event, steady_clock::time_point deadline) {
  pollfd waiting{socket, event, 0};
  const auto left = duration_cast<milliseconds>(deadline - steady_clock::now()).count();
  return left > 0 && poll(&waiting, 1, static_cast<int>(left)) > 0;
}

// Returns false if the client has left, or does not take everything in the time that is left to it.
static bool send_all(int socket, const void* data, std::size_t n, milliseconds& left) {
  const auto start = steady_clock::now();
  for (ssize_t sent; n > 0; data = static_cast<const char*>(data) + sent, n -= static_cast<std::size_t>(sent))
    if (!wait_for(socket, POLLOUT, start + left) || (sent = send(socket, data, n, MSG_DONTWAIT)) <= 0) return false;
  left -= duration_cast<milliseconds>(steady_clock::now() - start);
  return true;
}

static bool send_line(int socket, const std::string& line) {
  milliseconds left = seconds(patience);
  return send_all(socket, (line + "\n").data(), line.size() + 1, left);
}

// Sends the speech of a text while it is synthesized. A client that leaves, or is slow, cancels its request. Returns
// false if the client did not take everything.
static bool speak(tacoglow_scheduler* scheduler, int socket, const char* text, int rate) {
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
  milliseconds left = seconds(patience);  // and, for all samples, as long as they play
  if (status == TACOGLOW_OK) status = tacoglow_handle_next(handle, &samples, &n);
  bool is_taken = send_line(
      socket, status == TACOGLOW_OK ? "ok " + std::to_string(rate) : std::string("error ") + tacoglow_last_error());
  while (is_taken && status == TACOGLOW_OK && n > 0) {
    is_taken = send_all(socket, samples, n * sizeof(float), left += milliseconds(1000 * n / rate));
    if (is_taken) status = tacoglow_handle_next(handle, &samples, &n);
  }
  tacoglow_handle_close(handle);
  return is_taken;
}

// Reads a line, or what a client sends before it ends; of a longer one only so much that its length shows. Returns
// false if it does not end in time.
static bool read_line(int socket, std::string& line) {
  const auto deadline = steady_clock::now() + seconds(patience);
  for (char block[4096];;) {
    if (!wait_for(socket, POLLIN, deadline)) return false;
    const ssize_t n = recv(socket, block, sizeof block, 0);
    if (n < 0) return false;
    char *const stop = block + n, *const end = std::find(block, stop, '\n');
    if (line.size() <= longest_line) line.append(block, end);
    if (n == 0 || end != stop) return true;
  }
}

// Returns the next client's socket, or a negative number if there is no listener any more.
static int next_client(int listener) {
  for (;;) {
    const int socket = accept(listener, nullptr, nullptr);
    if (socket >= 0 || errno == EBADF || errno == EINVAL || errno == ENOTSOCK) return socket;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));  // such as too many open files: later there are fewer
  }
}

// Answers a line; returns false if the client did not take everything.
static bool answer(tacoglow_scheduler* scheduler, int socket, const std::string& line, int rate) {
  if (line.size() > longest_line)
    return send_line(socket, "error expected a line of at most " + std::to_string(longest_line) + " bytes");
  if (line.find('\0') != std::string::npos)  // the text of a request ends there
    return send_line(socket, "error expected a line in UTF-8, got a NUL byte");
  return speak(scheduler, socket, line.c_str(), rate);
}

// Waits until the client closes its side, and discards what it still sends: closing with unread bytes would drop the
// rest of the answer.
static void drain(int socket) {
  shutdown(socket, SHUT_WR);
  const auto deadline = steady_clock::now() + seconds(patience);
  for (char block[4096]; wait_for(socket, POLLIN, deadline) && recv(socket, block, sizeof block, 0) > 0;) {
  }
}

// Serves one client after the other; those beyond the number of threads wait in the listener's queue, which is bounded.
static void serve(tacoglow_scheduler* scheduler, int listener, int rate) {
  for (int socket; (socket = next_client(listener)) >= 0; close(socket)) {
    std::string line;
    if (!read_line(socket, line))
      send_line(socket, "error expected a line within " + std::to_string(patience) + " seconds");
    else if (answer(scheduler, socket, line, rate))
      drain(socket);
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
