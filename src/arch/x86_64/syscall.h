/* SPDX-License-Identifier: MIT */
/*
 * syscall.h - the system call instruction of x86-64. Returns the kernel's
 * value: >= 0, or -errno. Unlike libc's wrappers it never touches errno, is
 * not a cancellation point, and can't be interposed. Used by os/ alone.
 */
#ifndef ARCH_SYSCALL_H
#define ARCH_SYSCALL_H

static inline long arch_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ __volatile__("syscall"
			     : "=a"(ret)
			     : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			     : "rcx", "r11", "memory");
	return ret;
}

#endif
