/* SPDX-License-Identifier: MIT */
/*
 * After start-up a program may shut itself in: here all but mmap, munmap, mremap, mprotect,
 * madvise, futex, write and the exits kill the process at once. Two threads then allocate,
 * resize and free from 16 bytes to 64 MiB. (glibc's own malloc needs brk as well, and its
 * threads one allocation beforehand; both are granted only where it is the one.)
 */
#define _GNU_SOURCE
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "check.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

enum { WAITING, GO, DONE };
static _Atomic int ready, state;

static const int allowed[] = {
	SYS_mmap,  SYS_munmap, SYS_mremap,     SYS_mprotect, SYS_madvise,
	SYS_futex, SYS_write,  SYS_exit_group, SYS_exit,     SYS_rt_sigreturn,
};

static void shut_in(void)
{
	struct sock_filter code[2 * ARRAY_SIZE(allowed) + 8];
	unsigned short n = 0;

	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						 offsetof(struct seccomp_data, arch));
	code[n++] =
		(struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						 offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i <= ARRAY_SIZE(allowed); i++) {
		if (i == ARRAY_SIZE(allowed) && preloaded())
			break;
		int nr = i < ARRAY_SIZE(allowed) ? allowed[i] : SYS_brk;
		code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1);
		code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	}
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);

	struct sock_fprog program = { .len = n, .filter = code };
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "PR_SET_NO_NEW_PRIVS");
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) !=
	    0) {
		say("skip: no seccomp filters here");
		_exit(SKIP);
	}
}

static void sizes_one_by_one(void)
{
	for (size_t n = 16; n <= (size_t)64 << 20; n *= 2) {
		for (int off = -1; off <= 1; off++) {
			unsigned char *p = hide(malloc(n + off)), *z = hide(calloc(1, n + off));

			CHECK(p != NULL && z != NULL, "%zu bytes", n + off);
			CHECK(z[0] == 0 && z[n + off - 1] == 0 && z[(n + off) / 2] == 0,
			      "calloc(%zu)", n + off);
			p[0] = p[n + off - 1] = 1;
			p = hide(realloc(p, n + n / 2));
			CHECK(p != NULL && p[0] == 1 && p[n + off - 1] == 1, "realloc from %zu",
			      n + off);
			free(z);
			p = hide(realloc(p, n / 2 + 1));
			CHECK(p != NULL && p[0] == 1, "realloc back from %zu", n + n / 2);
			free(p);
			p = hide(memalign(4096, n));
			CHECK(p != NULL && ((uintptr_t)p & 4095) == 0, "memalign(4096, %zu)", n);
			free(p);
		}
	}
}

/* Fill up, check, free all, several times: refills, flushes, slabs and areas given back. */
static void churn(unsigned id)
{
	enum { COUNT = 4000 };
	static unsigned char *all[2][COUNT];
	unsigned char **p = all[id];
	uint32_t seed = 4711 + id;

	for (int round = 0; round < 12; round++) {
		for (int i = 0; i < COUNT; i++) {
			uint32_t r = next_random(&seed);
			size_t n = 16 + (r % 200 == 0 ? (r >> 8) % 400000 :
							(r >> 8) % (200u << round % 5));

			CHECK((p[i] = hide(malloc(n))) != NULL, "malloc(%zu)", n);
			pattern_fill(p[i], 16, i);
			if (r % 3 == 0) {
				free(p[i]);
				p[i] = NULL;
			}
		}
		for (int i = 0; i < COUNT; i++) {
			CHECK(p[i] == NULL || pattern_ok(p[i], 16, i), "object %d", i);
			free(p[i]);
		}
	}
}

static void *second_thread(void *arg)
{
	if (!preloaded())
		free(hide(malloc(16)));
	atomic_store(&ready, 1);
	while (atomic_load(&state) == WAITING)
		syscall(SYS_futex, &state, FUTEX_WAIT_PRIVATE, WAITING, NULL, NULL, 0);
	churn(1);
	sizes_one_by_one();
	atomic_store(&ready, 2);
	syscall(SYS_futex, &ready, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	/* It stays: the end of a thread needs system calls of its own. */
	for (;;)
		syscall(SYS_futex, &state, FUTEX_WAIT_PRIVATE, GO, NULL, NULL, 0);
	return arg;
}

int main(void)
{
	pthread_t thread;

	check_library();
	CHECK(pthread_create(&thread, NULL, second_thread, NULL) == 0, "pthread_create");
	while (atomic_load(&ready) == 0)
		usleep(100);
	free(hide(malloc(1)));
	shut_in();
	say("shut in");
	sizes_one_by_one();
	say("one thread: 16 bytes to 64 MiB");
	atomic_store(&state, GO);
	syscall(SYS_futex, &state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	churn(0);
	sizes_one_by_one();
	while (atomic_load(&ready) != 2)
		syscall(SYS_futex, &ready, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0);
	say("two threads: allocated, resized, freed");
	return 0;
}
