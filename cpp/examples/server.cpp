// A server: one line of text in, a line "ok RATE" or "error MESSAGE" out, and float32 samples as they are synthesized.
//
//   server voice/ 8080 2                                           BUNDLE PORT WORKERS; port 0: any free one
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

struct Client {
  int socket, rate;
  bool begun = false;

  bool send(const void* data, std::size_t n) const {
    for (ssize_t sent; n > 0; data = static_cast<const char*>(data) + sent, n -= static_cast<std::size_t>(sent))
      if ((sent = ::send(socket, data, n, 0)) <= 0) return false;
    return true;
  }
  bool send_line(const std::string& line) const { return send((line + "\n").data(), line.size() + 1); }
};

// Cancels the request, by returning 1, when the client is gone.
static int send_segment(const float* samples, std::size_t n, void* user) {
  auto& client = *static_cast<Client*>(user);
  if (!client.begun && !client.send_line("ok " + std::to_string(client.rate))) return 1;
  client.begun = true;
  return client.send(samples, n * sizeof(float)) ? 0 : 1;
}

// Serves one client at a time; the others wait in the listener's queue, which is bounded.
static void serve(tacoglow_session* session, int listener, int rate) {
  for (int socket; (socket = accept(listener, nullptr, nullptr)) >= 0; close(socket)) {
    const timeval patience{5, 0};  // seconds: a silent client must not keep a worker
    for (const int way : {SO_RCVTIMEO, SO_SNDTIMEO}) setsockopt(socket, SOL_SOCKET, way, &patience, sizeof patience);
    std::string line;
    for (char c; line.size() < 65536 && recv(socket, &c, 1, 0) == 1 && c != '\n';) line += c;
    Client client{socket, rate};
    tacoglow_request request;
    tacoglow_request_init(&request);
    request.text = line.c_str();
    if (tacoglow_stream(session, &request, send_segment, &client, nullptr) != TACOGLOW_OK && !client.begun)
      client.send_line(std::string("error ") + tacoglow_last_error());
  }
}

static int fail(const char* message) {
  std::fprintf(stderr, "%s\n", message);
  return 2;
}

int main(int argc, char** argv) {
  if (argc != 4 || std::atoi(argv[3]) < 1) return fail("usage: server BUNDLE PORT WORKERS");
  std::signal(SIGPIPE, SIG_IGN);
  tacoglow_open_options options;
  tacoglow_open_options_init(&options);
  options.threads = 1;  // the workers already run in parallel and would compete for the cores
  tacoglow_voice* voice;
  if (tacoglow_voice_open(argv[1], &options, &voice) != TACOGLOW_OK) return fail(tacoglow_last_error());
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(argv[2])));
  socklen_t size = sizeof address;
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(listener, 16) != 0 ||
      getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    return fail("cannot listen on this port");
  std::vector<std::thread> workers;
  for (int i = 0; i < std::atoi(argv[3]); ++i) {
    tacoglow_session* session;
    if (tacoglow_session_open(voice, &session) != TACOGLOW_OK) return fail(tacoglow_last_error());
    workers.emplace_back(serve, session, listener, tacoglow_voice_facts(voice)->sampling_rate);
  }
  std::printf("listening on port %d\n", ntohs(address.sin_port));
  std::fflush(stdout);
  for (auto& worker : workers) worker.join();
}
