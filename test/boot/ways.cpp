// Every way to boot: a program of some MiB comes whole, with its command line, and its status comes back.
// limit: 60
// status: 42
// prints: [one][two words][three '3'][last]
// boot: --cores 1 --args "one 'two words' \"three '3'\" last"
// prints: way: 1 cores
// boot: --cores 4 --args "one 'two words' \"three '3'\" last"
// prints: way: 4 cores
// boot: --usb --cores 1 --args "one 'two words' \"three '3'\" last"
// prints: way: 1 cores
// boot: --usb --cores 2 --args "one 'two words' \"three '3'\" last"
// prints: way: 2 cores
// boot: --cdrom --cores 1 --args "one 'two words' \"three '3'\" last"
// prints: way: 1 cores
// boot: --cdrom --cores 2 --args "one 'two words' \"three '3'\" last"
// prints: way: 2 cores
// boot: --uefi --cores 1 --args "one 'two words' \"three '3'\" last"
// prints: way: 1 cores
// boot: --uefi --cores 4 --args "one 'two words' \"three '3'\" last"
// prints: way: 4 cores
// boot: --uefi --usb --cores 1 --args "one 'two words' \"three '3'\" last"
// prints: way: 1 cores
// boot: --uefi --usb --cores 2 --args "one 'two words' \"three '3'\" last"
// prints: way: 2 cores
// boot: --uefi --cdrom --cores 1 --args "one 'two words' \"three '3'\" last"
// prints: way: 1 cores
// boot: --uefi --cdrom --cores 2 --args "one 'two words' \"three '3'\" last"
// prints: way: 2 cores
// boot: --netboot --net user --cores 1 --args "one 'two words' \"three '3'\" last"
// prints: way: 1 cores
// boot: --netboot --net user --cores 2 --args "one 'two words' \"three '3'\" last"
// prints: way: 2 cores
// boot: --pvh --cores 1 --args "one 'two words' \"three '3'\" last"
// prints: way: 1 cores
// boot: --pvh --cores 4 --args "one 'two words' \"three '3'\" last"
// prints: way: 4 cores
// boot: --microvm --cores 1 --args "one 'two words' \"three '3'\" last"
// prints: way: 1 cores
// boot: --microvm --cores 4 --args "one 'two words' \"three '3'\" last"
// prints: way: 4 cores
// boot: --bochs --cores 1 --args "one 'two words' \"three '3'\" last"
// prints: way: 1 cores
// boot: --bochs --cores 2 --args "one 'two words' \"three '3'\" last"
// prints: way: 2 cores
// boot: --bochs --cores 8 --args "one 'two words' \"three '3'\" last"
// prints: way: 8 cores
#include <exo/exo.hpp>

// 3 MiB of numbers, each made of the one before.
asm(R"(
  .section .rodata
  .balign 8
numbers:
  .set number, 1
  .rept 393216
  .quad number
  .set number, number * 6364136223846793005 + 1442695040888963407
  .endr
numbers_end:
  .previous
)");
extern "C" exo::u64 const numbers[], numbers_end[];

int main(int count, char **words) {
  exo::u64 wanted = 1;
  for (exo::u64 const *each = numbers; each != numbers_end; ++each) {
    if (*each != wanted) {
      exo::print("number {} is wrong\n", each - numbers);
      return 1;
    }
    wanted = wanted * 6364136223846793005 + 1442695040888963407;
  }
  exo::print("way: {} cores\n", exo::core_count());
  for (int word = 1; word < count; ++word) exo::print("[{}]", words[word]);
  exo::print("\n");
  return 42;
}
