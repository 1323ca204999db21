/* SPDX-License-Identifier: MIT */
/*
 * spawn.c [--seconds N] [--seed S] [--threads T] - new processes by every call there is, from
 * many threads at once, while others allocate, everything is given back, and signals come.
 *
 *	fork           the child checks and frees what its thread had, allocates, forks again (three deep),
 *	               starts a thread; it ends by exit(), _exit(), abort(), a signal, or exec
 *	vfork          the child allocates and frees on its parent's memory, vforks again;
 *	               it ends by _exit(), a signal of its own, or exec
 *	posix_spawn    with file actions and attributes, also of a program that is not there
 *	clone          CLONE_VM | CLONE_VFORK by the C library's call: exec or _exit alone, since
 *	               nothing tells the library of such a child (docs/limits.md)
 *	clone3, clone  raw, like a fork without its handlers: the child makes no call of the allocator,
 *	               since a lock may be another thread's for good
 *	popen, system  and what they read
 *
 * A child that forked is killed from outside at a random moment now and then. Each has an alarm: one
 * that hangs dies of it, and the parent says so.
 *
 * What a worker has is in `struct mine`; a vfork child shares it. Blocks are stamped; the oracle
 * of addresses (shadow.h) is used where memory is not shared with a child that may be killed.
 */
#include "shadow.h"

#include <linux/sched.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define MAX_THREADS 64
#define OWN 48
#define KEPT 4
#define CHILD_SECONDS 30
#define MAX_DEPTH 3
#define CLONE_STACK (64UL << 10)
#define EXIT_FORK 11
#define EXIT_VFORK 12
#define EXIT_CLONE 13

struct mine {
	void *own[OWN];
	void *left; /* by a vfork child for its parent */
	uint64_t state;
};

enum kind { FORK, VFORK, SPAWN, CLONE_VFORK_VM, CLONE3, CLONE_RAW, POPEN, SYSTEM, NR_KINDS };

static const char *const kind_names[NR_KINDS] = {
	"fork", "vfork", "posix_spawn", "clone(VM|VFORK)", "clone3", "clone", "popen", "system"
};

static pthread_t threads[MAX_THREADS];
static int nr_threads;
static _Atomic int stop;

/* Shared with all children, which count too. */
static struct {
	_Atomic unsigned long made[NR_KINDS], signals, deep, killed;
} * count;

static __thread struct {
	void *kept[KEPT];
	uint64_t state;
} in_handler __attribute__((tls_model("initial-exec")));

extern char **environ;

static void on_signal(int sig)
{
	int saved = errno;
	void **place = &in_handler.kept[next_random(&in_handler.state) % KEPT];

	(void)sig;
	atomic_fetch_add_explicit(&count->signals, 1, memory_order_relaxed);
	if (!*place) {
		*place = oracle_new(&in_handler.state, random_size(&in_handler.state));
		CHECK(*place != NULL);
	} else {
		oracle_free(*place, "handler");
		*place = NULL;
	}
	errno = saved;
}

__attribute__((noinline)) static void work(struct mine *mine, int steps)
{
	while (steps--) {
		void **place = &mine->own[next_random(&mine->state) % OWN];
		size_t size = random_size(&mine->state);

		if (!*place) {
			*place = oracle_new(&mine->state, size);
			CHECK(*place != NULL);
		} else if (next_random(&mine->state) % 4) {
			oracle_free(*place, "own");
			*place = NULL;
		} else {
			*place = oracle_resize(*place, size, "own");
			CHECK(*place != NULL);
		}
	}
}

static void free_all(struct mine *mine)
{
	for (int k = 0; k < OWN; k++) {
		oracle_free(mine->own[k], "at the end");
		mine->own[k] = NULL;
	}
}

/* Waits for a child. `status` is what it should be: an exit status, or - a signal. */
static void wait_for(pid_t pid, int expected, enum kind kind)
{
	int status;

	while (waitpid(pid, &status, __WALL) != pid)
		CHECK(errno == EINTR);

	int ended = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);

	if (ended != expected)
		FAIL("%s: child %d ended with %d, not %d%s %s", kind_names[kind], (int)pid, ended,
		     expected, ended == -SIGALRM ? ": it hung" : "", stress_seed_text);
	atomic_fetch_add(&count->made[kind], 1);
}

static void exec_true(void)
{
	static char *const argv[] = { (char *)"true", NULL };

	execv("/bin/true", argv);
	_exit(127);
}

/* fork */

static void *thread_of_child(void *arg)
{
	struct mine mine = { .state = (uint64_t)arg | 1 };

	work(&mine, 100);
	free_all(&mine);
	return NULL;
}

static void live_as_forked(struct mine *mine)
{
	pthread_t thread;

	work(mine, 60);
	if (next_random(&mine->state) % 4 == 0) {
		CHECK(pthread_create(&thread, NULL, thread_of_child, (void *)mine->state) == 0);
		work(mine, 60);
		pthread_join(thread, NULL);
	}
	if (next_random(&mine->state) % 4 == 0)
		malloc_trim(0);
	if (next_random(&mine->state) % 2)
		free_all(mine);
}

/* How the child of this draw ends: what wait_for() expects. */
static int end_of(uint64_t way)
{
	static const int ends[] = { EXIT_FORK, EXIT_FORK, EXIT_FORK, -SIGABRT, -SIGTERM, 0 };

	return ends[way % 6];
}

static _Noreturn void end_by(uint64_t way)
{
	struct rlimit none = { 0, 0 };

	switch (way % 6) {
	case 0:
		exit(EXIT_FORK);
	case 3:
		setrlimit(RLIMIT_CORE, &none); /* it dies on purpose */
		abort();
	case 4:
		raise(SIGTERM);
		_exit(99);
	case 5:
		exec_true();
		_exit(99);
	default:
		_exit(EXIT_FORK);
	}
}

static void do_fork(struct mine *mine, int depth)
{
	uint64_t way = next_random(&mine->state) >> 4;
	bool kill_it = depth == 0 && way % 16 == 15;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		alarm(CHILD_SECONDS);
		if (depth)
			mine->state += (uint64_t)depth;
		live_as_forked(mine);
		if (depth + 1 < MAX_DEPTH && next_random(&mine->state) % 2)
			do_fork(mine, depth + 1);
		if (kill_it)
			for (;;)
				work(mine, 1000);
		end_by(way);
	}
	if (depth)
		atomic_fetch_add(&count->deep, 1);
	work(mine, 50);
	if (kill_it) {
		for (int i = 0; i < 5; i++) { /* its handlers allocate as well */
			kill(pid, SIGUSR1);
			sleep_us(300);
		}
		kill(pid, SIGKILL);
		atomic_fetch_add(&count->killed, 1);
	}
	wait_for(pid, kill_it ? -SIGKILL : end_of(way), FORK);
}

/* vfork: both functions that hold the call's frame must not be inlined into their callers. */

__attribute__((noinline)) static void vfork_again(struct mine *mine)
{
	pid_t pid = vfork();

	CHECK(pid >= 0);
	if (pid == 0) {
		work(mine, 20);
		_exit(EXIT_VFORK);
	}
	wait_for(pid, EXIT_VFORK, VFORK);
}

__attribute__((noinline)) static void live_as_vforked(struct mine *mine, uint64_t way)
{
	work(mine, 40);
	mine->left = oracle_new(&mine->state, random_size(&mine->state));
	if (way / 4 % 8 == 0)
		vfork_again(mine);
	work(mine, 10);
}

__attribute__((noinline)) static void do_vfork(struct mine *mine)
{
	static const int ends[] = { EXIT_VFORK, EXIT_VFORK, -SIGKILL, 0 };
	uint64_t way = next_random(&mine->state) >> 4;
	pid_t pid = vfork();

	CHECK(pid >= 0);
	if (pid == 0) {
		live_as_vforked(mine, way);
		if (way % 4 == 3)
			exec_true();
		if (way % 4 == 2)
			kill(getpid(), SIGKILL);
		_exit(EXIT_VFORK);
	}
	CHECK(mine->left != NULL);
	oracle_free(mine->left, "left by the child");
	mine->left = NULL;
	work(mine, 40);
	wait_for(pid, ends[way % 4], VFORK);
}

/* posix_spawn */

static void do_spawn(struct mine *mine)
{
	static char *const argv[] = { (char *)"sh", (char *)"-c", (char *)"exit 7", NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none;
	pid_t pid;

	CHECK(posix_spawn_file_actions_init(&actions) == 0 && posix_spawnattr_init(&attr) == 0);
	for (int i = 0; i < 20; i++)
		CHECK(posix_spawn_file_actions_addopen(&actions, 100 + i, "/dev/null", 0, 0) == 0);
	sigemptyset(&none);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	if (next_random(&mine->state) % 4 == 0)
		CHECK(posix_spawn(&pid, "/no/such", &actions, &attr, argv, environ) == ENOENT);
	CHECK(posix_spawnp(&pid, "sh", &actions, &attr, argv, environ) == 0);
	work(mine, 30);
	wait_for(pid, 7, SPAWN);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
}

/* clone */

static int exec_or_exit(void *exec)
{
	if (exec)
		exec_true();
	_exit(EXIT_CLONE);
}

static void do_clone_vfork(struct mine *mine)
{
	char *stack = torture_map(CLONE_STACK);
	void *exec = next_random(&mine->state) % 2 ? stack : NULL;
	sigset_t all, old;
	pid_t pid;

	/* a handler would allocate in the child, on its parent's thread data */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pid = clone(exec_or_exit, stack + CLONE_STACK, CLONE_VM | CLONE_VFORK | SIGCHLD, exec);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	CHECK(pid > 0);
	wait_for(pid, exec ? 0 : EXIT_CLONE, CLONE_VFORK_VM);
	munmap(stack, CLONE_STACK);
}

static void do_clone_raw(struct mine *mine, enum kind kind)
{
	struct clone_args args = { .exit_signal = SIGCHLD };
	bool exec = next_random(&mine->state) % 2;
	sigset_t all, old;
	long pid;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	if (kind == CLONE3)
		pid = syscall(SYS_clone3, &args, sizeof(args));
	else
		pid = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0L);
	if (pid == 0)
		exec_or_exit(exec ? mine : NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (pid < 0 && kind == CLONE3 && (errno == ENOSYS || errno == EPERM)) {
		atomic_fetch_add(&count->made[kind],
				 1); /* an old kernel, or a filter of containers */
		return;
	}
	CHECK(pid > 0);
	work(mine, 30);
	wait_for((pid_t)pid, exec ? 0 : EXIT_CLONE, kind);
}

/* popen and system: a shell, whose signals are the caller's */

static void do_popen(struct mine *mine)
{
	char line[100] = "";
	FILE *pipe = popen("echo said", "r");

	CHECK(pipe != NULL);
	work(mine, 30);
	while (!fgets(line, sizeof(line), pipe) && ferror(pipe) && errno == EINTR)
		clearerr(pipe);
	CHECK(!strcmp(line, "said\n"));
	CHECK(pclose(pipe) == 0);
	atomic_fetch_add(&count->made[POPEN], 1);
}

static void do_system(void)
{
	int status = system("exit 9");

	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 9);
	atomic_fetch_add(&count->made[SYSTEM], 1);
}

static void spawn_one(struct mine *mine)
{
	/* fork and vfork, whose children allocate, the most */
	switch (next_random(&mine->state) % 24) {
	case 0:
		do_spawn(mine);
		break;
	case 1:
		do_popen(mine);
		break;
	case 2:
		do_system();
		break;
	case 3:
	case 4:
		do_clone_vfork(mine);
		break;
	case 5:
		do_clone_raw(mine, CLONE3);
		break;
	case 6:
		do_clone_raw(mine, CLONE_RAW);
		break;
	case 7 ... 12:
		do_fork(mine, 0);
		break;
	default:
		do_vfork(mine);
		break;
	}
}

/* Two of three spawn; the others only allocate, so that spawns find the allocator at work. */
static void *worker(void *arg)
{
	struct mine *mine = torture_map(sizeof(*mine));

	mine->state = torture.seed + (uintptr_t)arg * 7919;
	in_handler.state = mine->state ^ 0x5555;
	/* in the workers alone: popen() and system() are not made to be struck by them in the child */
	torture_let_signals(SIG_UNBLOCK);
	while (!atomic_load(&stop)) {
		work(mine, 300);
		if ((uintptr_t)arg % 3 != 2)
			spawn_one(mine);
	}
	torture_let_signals(SIG_BLOCK);
	free_all(mine);
	for (int k = 0; k < KEPT; k++)
		oracle_free(in_handler.kept[k], "handler, at the end");
	return NULL;
}

static void *signaller(void *unused)
{
	uint64_t state = torture.seed + 5;

	while (!atomic_load(&stop)) {
		pthread_kill(threads[next_random(&state) % (uint64_t)nr_threads], SIGUSR1);
		sleep_us((long)(next_random(&state) % 1000));
	}
	return unused;
}

static unsigned long all_made(void)
{
	unsigned long n = 0;

	for (int kind = 0; kind < NR_KINDS; kind++)
		n += atomic_load(&count->made[kind]);
	return n;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	pthread_t other[2];

	(void)argc;
	torture_start(argv, "threads");
	nr_threads = (int)torture_number(argv, "threads", 9);
	CHECK(nr_threads > 0 && nr_threads <= MAX_THREADS);
	count = mmap(NULL, sizeof(*count), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	CHECK(count != MAP_FAILED);
	torture_let_signals(SIG_BLOCK);
	sigaction(SIGUSR1, &action, NULL);
	for (int i = 0; i < nr_threads; i++)
		CHECK(pthread_create(&threads[i], NULL, worker, (void *)(uintptr_t)i) == 0);
	CHECK(pthread_create(&other[0], NULL, stress_trimmer, &stop) == 0);
	CHECK(pthread_create(&other[1], NULL, signaller, NULL) == 0);
	while (!torture_time_is_up()) {
		sleep_us(1000000);
		say_to(2, "%lu processes so far", all_made());
	}
	atomic_store(&stop, 1);
	for (int i = 0; i < 2; i++)
		pthread_join(other[i], NULL);
	for (int i = 0; i < nr_threads; i++)
		pthread_join(threads[i], NULL);
	for (int kind = 0; kind < NR_KINDS && torture.seconds >= TORTURE_SECONDS; kind++)
		if (!count->made[kind])
			FAIL("%s was never made %s", kind_names[kind], stress_seed_text);
	say_to(1,
	       "%lu processes: %lu fork (%lu by children, %lu killed), %lu vfork, %lu posix_spawn, "
	       "%lu clone(VM|VFORK), %lu clone3, %lu clone, %lu popen, %lu system; %lu signals",
	       all_made(), count->made[FORK], count->deep, count->killed, count->made[VFORK],
	       count->made[SPAWN], count->made[CLONE_VFORK_VM], count->made[CLONE3],
	       count->made[CLONE_RAW], count->made[POPEN], count->made[SYSTEM], count->signals);
	return 0;
}
