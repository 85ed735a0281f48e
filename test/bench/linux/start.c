// The least that a Linux guest runs: a process that prints a line and stays.
static long call(long number, long a, long b, long c) {
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
  return result;
}
void _start(void) {
  call(1, 1, (long)"ready\n", 6);
  for (;;) call(34, 0, 0, 0);
}
