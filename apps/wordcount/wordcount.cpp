// wordcount: lines, words, bytes and the ten most frequent words of the text on disk 0, on all cores; then the same to
// whoever asks on UDP port 7777.
//
//   bytes=N              how long the text is. Without it, the whole disk is text, but for zeros that fill up its last
//                        block (a block of zeros only is text)
//   once                 end with status 0 after printing
//   ip=10.0.2.15/24      our address and how many leading bits its network has
//   gateway=10.0.2.2     the router to other networks
//   port=7777            the UDP port
//   quit                 end with status 0 when a message says "quit"
//
// The counts are those of `LC_ALL=C wc`; the words those of `tr -s '[:space:]' '\n' | sort | uniq -c`, the most
// frequent first, equals in the order of their bytes. Status 1: a sentence says why there is no report.
#include <exo/exo.hpp>

#include "answer.hpp"
#include "read.hpp"
#include "report.hpp"

namespace {

using exo::u32;
using exo::u64;
using wordcount::options;

constexpr exo::disk_id text_disk{0};

/// Runs function(core) for core 0 to cores - 1 on the machine's cores.
constexpr auto on_cores = [](u32 cores, auto const &function) {
  std::atomic<u32> next = 0;
  exo::run_on_all(
      [&] {
        for (u32 core = next++; core < cores; core = next++) function(core);
      },
      cores);
};

/// The length of a text that fills the disk, but for zeros at the end of the last block.
exo::result<u64> find_text_end(exo::disk_record const &record) {
  u64 const disk_bytes = record.blocks * record.block_bytes;
  if (disk_bytes == 0) return 0;
  auto memory = exo::pages::take(record.block_bytes);
  if (!memory) return std::unexpected(memory.error());
  auto opened = exo::disk::open(text_disk);
  if (!opened) return std::unexpected(opened.error());
  auto const block = memory->span().first(record.block_bytes);
  auto const read = exo::disk_blocks(*opened->take_queue()).read(exo::lba{record.blocks - 1}, block);
  if (!read) return std::unexpected(read.error());
  auto const zeros = std::find_if(block.rbegin(), block.rend(), [](std::byte each) { return each != std::byte{0}; });
  if (zeros == block.rend()) return disk_bytes;
  return disk_bytes - static_cast<u64>(zeros - block.rbegin());
}

using outcome = std::expected<wordcount::summary, wordcount::failure>;

outcome count_disk(exo::disk_record const &record, u64 text_bytes) {
  u32 const cores = exo::core_count();
  u32 const queues = std::min(cores, record.queue_max);
  u64 const reads = cores * wordcount::reads_per_core;
  u64 const read_bytes = std::max<u64>(
      wordcount::read_bytes_for(text_bytes, cores, exo::system_pages.free().bytes), record.block_bytes);
  auto buffers = exo::pages::take(reads * read_bytes);
  if (!buffers) return std::unexpected(wordcount::failure{buffers.error()});
  u32 const lanes_per_queue = (cores + queues - 1) / queues;
  auto const depth = static_cast<u32>(std::bit_ceil(std::max<u64>(16, lanes_per_queue * wordcount::reads_per_core)));
  auto opened = exo::disk::open(text_disk, queues, depth);
  if (!opened) return std::unexpected(wordcount::failure{opened.error()});
  wordcount::disk_count<wordcount::program_heap> job(*opened, queues, cores, text_bytes, buffers->span());
  return job.run(on_cores);
}

void complain(wordcount::failure const &what) {
  if (what.why == exo::error::memory) {
    exo::print("wordcount: out of memory: the text has too many different words, or too long ones, for this machine; "
               "give it more memory\n");
  } else if (what.blocks == 0) {
    exo::print("wordcount: disk 0 cannot be read: {}\n", what.why);
  } else {
    exo::print("wordcount: disk 0 cannot be read in blocks {} to {}: {}\n", what.first_block,
               what.first_block + what.blocks - 1, what.why);
  }
}

/// Answers on NIC 0; 1 if it does not start.
int serve(options const &chosen, std::string_view report) {
  exo::nic_record const &record = exo::info().nics[0];
  u32 const depth = std::min<u32>(64, record.depth_max);
  auto rings = exo::pages::take(exo::nic::ring_bytes(record, 1, depth));
  auto frames = exo::pages::take(exo::frame_port::memory_bytes(record, depth));
  if (!rings || !frames) {
    complain({exo::error::memory});
    return 1;
  }
  auto card = exo::nic::open(0, 1, depth, rings->span());
  if (!card) {
    exo::print("wordcount: NIC 0 does not open: {}\n", card.error());
    return 1;
  }
  auto port = exo::frame_port::open(std::move(*card->take_queue()), frames->span());
  if (!port) {
    exo::print("wordcount: NIC 0 does not receive: {}\n", port.error());
    return 1;
  }
  exo::print("wordcount: {} answers on UDP port {}\n", chosen.network.address, chosen.port);
  wordcount::answer(*port, chosen, report);
  return 0;
}

}  // namespace

int main(int argc, char **argv) {
  auto const chosen = wordcount::read_options(
      std::span(argv, static_cast<std::size_t>(argc)).subspan(1), [](std::string_view argument) {
        exo::print("wordcount: {} is no argument or has a wrong value; there are "
                   "bytes=N once ip=A.B.C.D/N gateway=A.B.C.D port=N quit\n", argument);
      });
  if (!chosen) return 1;

  if (exo::info().disks.empty()) {
    exo::print("wordcount: there is no text: this machine has no disk that the core has a driver for\n");
    return 1;
  }
  exo::disk_record const &record = exo::info().disks[0];
  u64 const disk_bytes = record.blocks * record.block_bytes;
  auto const text_bytes = chosen->bytes ? exo::result<u64>(*chosen->bytes) : find_text_end(record);
  if (!text_bytes) {
    complain({text_bytes.error(), record.blocks - 1, 1});
    return 1;
  }
  if (*text_bytes > disk_bytes) {
    exo::print("wordcount: bytes={} is more than disk 0 has: {} bytes\n", *text_bytes, disk_bytes);
    return 1;
  }

  auto const begin = exo::clock::now();
  auto const found = *text_bytes == 0 ? outcome(wordcount::summary{}) : count_disk(record, *text_bytes);
  if (!found) {
    complain(found.error());
    return 1;
  }
  char text[wordcount::report_bytes];
  exo::text_sink report(text);
  wordcount::write_report(report, *found);
  exo::print("{}", report.text());
  exo::print("wordcount: {} cores, {}\n", exo::core_count(),
             std::chrono::duration_cast<std::chrono::milliseconds>(exo::clock::now() - begin));

  if (chosen->once || exo::info().nics.empty()) return 0;
  return serve(*chosen, report.text());
}
