/* SPDX-License-Identifier: MIT */
/*
 * init.c - what the library does once the process is up, and when it ends.
 *
 * The allocator itself starts with the first request (kmalloc/start.c). Here,
 * in the first constructor of the process (-z initfirst): fork handlers, and, only
 * when asked for by parameter, the kswapd thread. At the end: statistics, when asked for.
 *
 * kswapd mirrors mm/vmscan.c's in name and purpose: it returns aged memory while
 * the program is idle. A thread does not survive fork: the child starts its own.
 * It must not keep a program alive that ended by its last thread's end: the C library
 * then ends the process, but counts ours as a thread like any other. So when ours is the
 * last one, it does what the C library would have done.
 */
#include "interpose/fork.h"
#include "kmalloc/kvmalloc.h"
#include "kmalloc/report.h"
#include "kmalloc/start.h"
#include "kmalloc/stat.h"
#include "lib/fmt.h"
#include "lib/param.h"
#include "os/os.h"
#include "page/reclaim.h"
#include "trace/trace.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#define KSWAPD_STACK (256UL << 10) /* the program's exit handlers may come to run on it */

static sigset_t program_mask; /* of the thread that started kswapd */

static void *kswapd(void *unused)
{
	size_t period = params.reclaim_age_ms / 4;

	for (;;) {
		os_sleep_ms(period ? period : 1);
		if (os_is_last_thread()) {
			pthread_sigmask(SIG_SETMASK, &program_mask, NULL);
			exit(EXIT_SUCCESS); // NOLINT(concurrency-mt-unsafe): the last thread
		}
		reclaim_run(RECLAIM_AGE);
	}
	return unused;
}

static void kswapd_start(void)
{
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all;
	int err;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, KSWAPD_STACK);
	sigfillset(&all);
	/* the program's signals are not for it */
	pthread_sigmask(SIG_SETMASK, &all, &program_mask);
	err = pthread_create(&thread, &attr, kswapd, NULL);
	pthread_sigmask(SIG_SETMASK, &program_mask, NULL);
	pthread_attr_destroy(&attr);
	if (err)
		fmt_warn("kswapd: no thread could be started (error %d): memory goes back only "
			 "while the program allocates",
			 err);
}

static __attribute__((constructor)) void init(void)
{
	fork_register();
	if (!kmalloc_start())
		return;
	if (params.kswapd) {
		kswapd_start();
		pthread_atfork(NULL, NULL, kswapd_start);
	}
}

static __attribute__((destructor)) void fini(void)
{
	if (report_is_pending())
		report_flush();
	trace_end();
	if (params.stat)
		stat_print();
}
