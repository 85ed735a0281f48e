// The state in which a program begins: every register and flag as doc/handoff.md says, without a runtime in between.
// boot: --args "a b"
// boot: --args "a b" -- -cpu qemu64
// boot: --args "a b" --cores 1 --mem 6M
#include <exo/core.hpp>

using namespace exo;

namespace {

struct state {
  u64 rdi, rbp, rsp;
  u64 rflags, fs_base, gs_base, cr0, cr3, cr4, efer;
  u32 mxcsr;
  unsigned short control, cs, ss, ds, es, fs, gs;
};

}  // namespace

extern "C" {
state entry;  // filled in by _start
}

namespace {

u64 text_bytes(char const *text) {
  u64 bytes = 0;
  for (; text[bytes] != 0; ++bytes) asm volatile("");  // or the compiler makes it a call of strlen, which is not there
  return bytes;
}

int wrong = 0;

void expect(bool holds, char const *what) {
  if (holds) return;
  wrong = 1;
  core().console_write(what, text_bytes(what));
  core().console_write("\n", 1);
}

}  // namespace

asm(R"(
  .globl _start
_start:
  movq %rdi, entry(%rip)
  movq %rbp, entry+8(%rip)
  movq %rsp, entry+16(%rip)
  pushfq
  popq entry+24(%rip)
  movl $0xc0000100, %ecx
  rdmsr
  movl %eax, entry+32(%rip)
  movl %edx, entry+36(%rip)
  movl $0xc0000101, %ecx
  rdmsr
  movl %eax, entry+40(%rip)
  movl %edx, entry+44(%rip)
  movq %cr0, %rax
  movq %rax, entry+48(%rip)
  movq %cr3, %rax
  movq %rax, entry+56(%rip)
  movq %cr4, %rax
  movq %rax, entry+64(%rip)
  movl $0xc0000080, %ecx
  rdmsr
  movl %eax, entry+72(%rip)
  stmxcsr entry+80(%rip)
  fnstcw entry+84(%rip)
  movw %cs, entry+86(%rip)
  movw %ss, entry+88(%rip)
  movw %ds, entry+90(%rip)
  movw %es, entry+92(%rip)
  jmp begin
)");

extern "C" [[gnu::used, gnu::no_stack_protector]] int begin(table_header const *header) {
  state const &it = entry;
  expect(it.rdi == table_address && header->magic == table_magic && header->revision == table_revision, "header in rdi");
  expect(header->call_count == sizeof(calls) / sizeof(void *), "count of calls");
  expect(it.rbp == 0 && it.fs_base == 0, "rbp or the base of FS is not 0");
  core_record const &first = info().cores[0];
  expect(it.rsp % 16 == 8 && it.rsp < first.stack_end && it.rsp >= first.stack_end - 64, "rsp");
  expect(it.gs_base == first.local, "base of GS");
  expect(it.mxcsr == 0x1F80 && it.control == 0x37F, "MXCSR and FCW");
  expect((it.rflags & ~u64{0x8D5}) == 0x202, "RFLAGS: interrupts on; DF, TF, IOPL, NT, AC off");
  expect((it.cr0 & 0x80010001) == 0x80010001 && (it.cr0 & 0xE) == 2, "CR0: PG, WP, PE, MP; no EM, TS");
  expect((it.cr0 & 0x60000000) == 0, "CR0: the caches are off");
  expect((it.cr4 & 0x620) == 0x620, "CR4: PAE, OSFXSR, OSXMMEXCPT");
  expect((it.efer & 0xD00) == 0xD00, "EFER: LME, LMA, NXE");
  expect(it.cs != 0 && it.cs % 8 == 0, "CS");

  expect(info().size == sizeof(machine_info), "size of machine_info");
  char const *line = info().command_line;
  expect(text_bytes(line) == 3 && line[0] == 'a' && line[1] == ' ' && line[2] == 'b', "command line");
  expect(info().program_first == 0x200000, "first address of the program");
  expect(local().index == 0 && local().running == 1 && local().user == 0, "core_local");
  u32 eax = 1, ebx, ecx = 0, edx;
  asm volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
  if ((ecx & 1 << 26) != 0) {
    expect((it.cr4 & 1 << 18) != 0, "CR4: OSXSAVE");
    u32 low, high;
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    u32 supported = 13, none, count = 0;
    asm volatile("cpuid" : "+a"(supported), "=b"(none), "+c"(count), "=d"(none));
    expect((low & 7) == (supported & 7), "XCR0: x87, SSE and AVX where the CPU has them");
  }
  return wrong;
}
