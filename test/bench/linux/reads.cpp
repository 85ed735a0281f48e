// Reads 4 KiB blocks at random places of the one disk with io_uring and O_DIRECT, as the only process of a Linux guest.
// For each depth it prints `reads DEPTH COUNT NANOSECONDS`, and then it turns the machine off.
#include <fcntl.h>
#include <linux/io_uring.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <linux/fs.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "modules.hpp"

namespace {

constexpr unsigned read_bytes = 4096;
constexpr unsigned ring_entries = 64;
constexpr std::uint64_t measured_ns = 2'000'000'000;

[[noreturn]] void end(char const *what) {
  if (what != nullptr) std::perror(what);
  std::fflush(nullptr);
  reboot(RB_POWER_OFF);
  for (;;) pause();
}

/// The disk, without a scheduler, which would only cost.
int open_disk(std::uint64_t &bytes) {
  constexpr char const *names[] = {"vda", "nvme0n1"};
  for (int tries = 0; tries < 500; ++tries) {
    for (char const *name : names) {
      char path[64];
      std::snprintf(path, sizeof path, "/dev/%s", name);
      int const disk = open(path, O_RDONLY | O_DIRECT);
      if (disk < 0) continue;
      std::snprintf(path, sizeof path, "/sys/block/%s/queue/scheduler", name);
      int const scheduler = open(path, O_WRONLY);
      if (scheduler < 0 || write(scheduler, "none", 4) != 4 || ioctl(disk, BLKGETSIZE64, &bytes) != 0) end(path);
      return disk;
    }
    usleep(10000);
  }
  end("there is no disk");
}

std::uint64_t now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(time.tv_nsec);
}

class ring {
 public:
  ring(int disk, std::uint64_t bytes) : blocks_(bytes / read_bytes) {
    io_uring_params about{};
    about.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN;
    file_ = static_cast<int>(syscall(SYS_io_uring_setup, ring_entries, &about));
    if (file_ < 0) end("io_uring_setup");
    auto const map = [&](std::uint64_t length, long long place) {
      void *const at = mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, file_, place);
      if (at == MAP_FAILED) end("mmap");
      return static_cast<char *>(at);
    };
    char *const sq = map(about.sq_off.array + about.sq_entries * sizeof(unsigned), IORING_OFF_SQ_RING);
    char *const cq = map(about.cq_off.cqes + about.cq_entries * sizeof(io_uring_cqe), IORING_OFF_CQ_RING);
    entries_ = reinterpret_cast<io_uring_sqe *>(map(about.sq_entries * sizeof(io_uring_sqe), IORING_OFF_SQES));
    sq_tail_ = reinterpret_cast<unsigned *>(sq + about.sq_off.tail);
    sq_mask_ = *reinterpret_cast<unsigned *>(sq + about.sq_off.ring_mask);
    cq_head_ = reinterpret_cast<unsigned *>(cq + about.cq_off.head);
    cq_tail_ = reinterpret_cast<unsigned *>(cq + about.cq_off.tail);
    cq_mask_ = *reinterpret_cast<unsigned *>(cq + about.cq_off.ring_mask);
    completions_ = reinterpret_cast<io_uring_cqe *>(cq + about.cq_off.cqes);
    auto *const array = reinterpret_cast<unsigned *>(sq + about.sq_off.array);
    for (unsigned at = 0; at < about.sq_entries; ++at) array[at] = at;

    buffers_ = static_cast<char *>(std::aligned_alloc(read_bytes, ring_entries * read_bytes));
    std::memset(buffers_, 1, ring_entries * read_bytes);
    iovec const all{buffers_, ring_entries * read_bytes};
    if (syscall(SYS_io_uring_register, file_, IORING_REGISTER_BUFFERS, &all, 1) != 0 ||
        syscall(SYS_io_uring_register, file_, IORING_REGISTER_FILES, &disk, 1) != 0) {
      end("io_uring_register");
    }
  }

  /// Keeps so many reads in flight until the time is over; returns how many were done.
  std::uint64_t run(unsigned depth, std::uint64_t until) {
    for (unsigned which = 0; which < depth; ++which) add(which);
    unsigned fresh = depth, in_flight = depth;
    std::uint64_t count = 0;
    for (bool ends = false; in_flight != 0;) {
      if (syscall(SYS_io_uring_enter, file_, fresh, 1, IORING_ENTER_GETEVENTS, nullptr, 0) != static_cast<long>(fresh)) {
        end("io_uring_enter");
      }
      fresh = 0;
      unsigned head = *cq_head_;
      unsigned const tail = std::atomic_ref(*cq_tail_).load(std::memory_order_acquire);
      if ((++rounds_ & 31) == 0) ends = now() >= until;
      for (; head != tail; ++head) {
        io_uring_cqe const &done = completions_[head & cq_mask_];
        if (done.res != read_bytes) end("read");
        ++count;
        if (ends) {
          --in_flight;
        } else {
          add(static_cast<unsigned>(done.user_data));
          ++fresh;
        }
      }
      std::atomic_ref(*cq_head_).store(head, std::memory_order_release);
    }
    return count;
  }

 private:
  void add(unsigned which) {
    random_ = random_ * 6364136223846793005 + 1442695040888963407;
    unsigned const tail = *sq_tail_;
    io_uring_sqe &entry = entries_[tail & sq_mask_];
    entry = {};
    entry.opcode = IORING_OP_READ_FIXED;
    entry.flags = IOSQE_FIXED_FILE;
    entry.fd = 0;
    entry.off = (random_ >> 33) % blocks_ * read_bytes;
    entry.addr = reinterpret_cast<std::uint64_t>(buffers_ + which * read_bytes);
    entry.len = read_bytes;
    entry.user_data = which;
    std::atomic_ref(*sq_tail_).store(tail + 1, std::memory_order_release);
  }

  int file_;
  std::uint64_t blocks_;
  std::uint64_t random_ = 1;
  unsigned rounds_ = 0;
  unsigned *sq_tail_, *cq_head_, *cq_tail_;
  unsigned sq_mask_, cq_mask_;
  io_uring_sqe *entries_;
  io_uring_cqe *completions_;
  char *buffers_;
};

}  // namespace

int main() {
  mkdir("/dev", 0755);
  mkdir("/sys", 0755);
  if (mount("devtmpfs", "/dev", "devtmpfs", 0, nullptr) != 0 || mount("sysfs", "/sys", "sysfs", 0, nullptr) != 0) end("mount");
  load_modules([](char const *path) { end(path); });
  std::uint64_t bytes = 0;
  int const disk = open_disk(bytes);
  ring reads(disk, bytes);
  for (unsigned const depth : {1u, 32u}) {
    reads.run(depth, now() + measured_ns / 10);  // warm
    std::uint64_t const begin = now(), count = reads.run(depth, begin + measured_ns);
    std::printf("reads %u %llu %llu\n", depth, static_cast<unsigned long long>(count),
                static_cast<unsigned long long>(now() - begin));
    std::fflush(stdout);
  }
  end(nullptr);
}
