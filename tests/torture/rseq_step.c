/* SPDX-License-Identifier: MIT */
/*
 * rseq_step.c - each restartable sequence of the library, interrupted at each of its
 * instructions in every way that a system has.
 *
 * Single steps would never get past the first instruction of a sequence, since each is
 * an interrupt, and so an abort. So the thread gets there by itself: a breakpoint
 * is written over the instruction in the library's text, in a traced process, and an
 * operation of the library is run that comes by. When the breakpoint is hit, the thread stands
 * before that instruction, nothing of the sequence being undone; the instruction is put
 * back, something happens, and the thread goes on:
 *
 *	preempt   nothing else: it was off its CPU
 *	signal    a handler that allocates and frees on both paths, in the same cache and others
 *	migrate   it goes on on another CPU
 *	share     a thread on the same CPU uses the same sheaf meanwhile
 *	drain     malloc_trim() takes the sheaves of all CPUs meanwhile
 *	fork      a handler forks; the child allocates
 *	kill      the thread ends there for good
 *
 * After each: no object twice, none lost (see rseq_step_victim.c); between the first
 * instruction and the commit the kernel has to have aborted the sequence, which a breakpoint at
 * the abort handler sees. What a killed thread held is lost, and no more than that.
 *
 * Points: the abort handler, the instructions that arm the sequence, those of the sequence,
 * and the one after the commit. A way (an operation) to each section is found by trying
 * all with breakpoints at all commits. A section that no operation commits in, with areas by
 * mm_cid or by cpu_id, is a failure.
 */
#include "rseq_step.h"

#include <errno.h>
#include <inttypes.h>
#include <link.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/rseq.h>
#include <sys/socket.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define OPS_MAX 64
#define HANG_SECONDS 60
#define TRIES 50
#define LOST_MAX 800 /* objects in what a thread may have in its hands: some sheaves */

enum injection { PREEMPT, SIGNAL, MIGRATE, SHARE, DRAIN, FORK, KILL, NR_INJECTIONS };

static const char *const injection_names[] = { "preempt", "signal", "migrate", "share",
					       "drain",	  "fork",   "kill" };

#define TRACE "trace=all trace.full=overwrite"
/* so seldom that it is none */
#define SAMPLE "trace=sample trace.sample=1000000000000 trace.full=overwrite"

/* Both ways to index the areas, each with the hit paths, with all sent to the slow ones, and with events of all. */
static const struct config {
	const char *name, *cmdline;
	bool cpu_id;
} configs[] = {
	{ "mm_cid", "", false },
	{ "mm_cid, diverted", "stat", false },
	{ "mm_cid, traced", TRACE, false },
	{ "mm_cid, sampled", SAMPLE, false },
	{ "cpu_id", "rseq=cpu_id", true },
	{ "cpu_id, diverted", "rseq=cpu_id stat", true },
	{ "cpu_id, traced", "rseq=cpu_id " TRACE, true },
	{ "cpu_id, sampled", "rseq=cpu_id " SAMPLE, true },
};

#define NR_CONFIGS (sizeof(configs) / sizeof(configs[0]))
#define CONFIGS_PER_INDEX 4

static const size_t sizes[] = { 64, 16, 208, 1024, 2000, 24 };

enum stop { STOP_PARK, STOP_BREAK, STOP_EXIT };

static struct step_section sections[STEP_SECTIONS_MAX];
static unsigned nr_sections;
/* Which operations commit in a section. */
static bool reaches[NR_CONFIGS][STEP_SECTIONS_MAX][OPS_MAX];

static struct victim_page *victim;
static pid_t process, thread;
static int sock;
static char library[400];

static uint64_t deadline_ms, seed, random_state;
static struct {
	unsigned trials, points, aborts, shared, shares;
	unsigned injected[NR_INJECTIONS];
} done;
static char where[200];

static _Noreturn void fail(const char *what)
{
	if (process > 0)
		kill(process, SIGKILL);
	step_fail("FAILED: %s: %s", where, what);
}

static void on_alarm(int number)
{
	(void)number;
	fail("nothing moves any more");
}

/* The victim's process. */

static long ask(enum helper_request request, unsigned argument)
{
	struct helper_message message = { request, argument };
	long result;

	if (write(sock, &message, sizeof(message)) != sizeof(message) ||
	    read(sock, &result, sizeof(result)) != sizeof(result))
		fail("the process ended");
	return result;
}

static struct user_regs_struct registers(void)
{
	struct user_regs_struct regs;

	if (ptrace(PTRACE_GETREGS, thread, 0, &regs) != 0)
		fail("the thread's registers cannot be read");
	return regs;
}

static void set_ip(uint64_t ip)
{
	struct user_regs_struct regs = registers();

	regs.rip = ip;
	if (ptrace(PTRACE_SETREGS, thread, 0, &regs) != 0)
		fail("the thread's registers cannot be set");
}

/* Where a breakpoint stands; restored by the byte that was there. */
struct breakpoint {
	uint64_t address; /* in the process */
	long text;
};

static struct breakpoint plant(uint64_t address)
{
	struct breakpoint breakpoint = { victim->base + address, 0 };

	errno = 0;
	breakpoint.text = ptrace(PTRACE_PEEKTEXT, thread, breakpoint.address, 0);
	if (errno || ptrace(PTRACE_POKETEXT, thread, breakpoint.address,
			    (breakpoint.text & ~0xffL) | 0xcc) != 0)
		fail("a breakpoint cannot be written");
	return breakpoint;
}

static void unplant(const struct breakpoint *breakpoint)
{
	if (ptrace(PTRACE_POKETEXT, thread, breakpoint->address, breakpoint->text) != 0)
		fail("a breakpoint cannot be taken out");
}

/* Let the thread run, with a signal or 0, to its next stop. */
static enum stop go_on(int number)
{
	int status;

	for (;;) {
		if (ptrace(PTRACE_CONT, thread, 0, number) != 0 ||
		    waitpid(thread, &status, __WALL) != thread)
			fail("the thread is gone");
		if (!WIFSTOPPED(status))
			return STOP_EXIT;
		number = WSTOPSIG(status);
		if (number == SIGTRAP)
			return registers().rip == victim->park_ip ? STOP_PARK : STOP_BREAK;
		if (number == SIGSEGV || number == SIGABRT || number == SIGILL || number == SIGBUS)
			fail(strsignal(number));
	}
}

static enum stop command(enum victim_command what, unsigned op)
{
	victim->command = what;
	victim->op = op;
	return go_on(0);
}

static void prepare(unsigned op)
{
	if (command(VICTIM_PREPARE, op) != STOP_PARK)
		fail("the thread did not come back from its preparation");
}

static void make_thread(void)
{
	int status;

	atomic_store(&victim->traced, false);
	thread = (pid_t)ask(HELPER_SPAWN, 0);
	if (ptrace(PTRACE_SEIZE, thread, 0, PTRACE_O_EXITKILL) != 0) {
		kill(process, SIGKILL);
		step_say(2, "skipped: ptrace is not allowed here (errno %d)", errno);
		_exit(STEP_SKIP);
	}
	atomic_store(&victim->traced, true);
	if (waitpid(thread, &status, __WALL) != thread || !WIFSTOPPED(status) ||
	    WSTOPSIG(status) != SIGTRAP || registers().rip != victim->park_ip)
		fail("the thread did not start");
	ask(HELPER_BASELINE, 0);
}

static void choose_cpus(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) != 0)
		fail("no CPU to run on");
	victim->cpu = victim->other_cpu = -1;
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &set))
			continue;
		if (victim->cpu < 0)
			victim->cpu = cpu;
		else if (victim->other_cpu < 0)
			victim->other_cpu = cpu;
	}
}

static void run_victim(int page_fd, int their_socket, const char *cmdline)
{
	char parameters[200];

	if (dup2(page_fd, VICTIM_PAGE_FD) < 0 || dup2(their_socket, VICTIM_SOCKET_FD) < 0)
		_exit(99);
	setenv("LD_PRELOAD", library, 1);
	/* exec keeps the number of the process */
	snprintf(parameters, sizeof(parameters), "%s trace.pid=%d", cmdline, getpid());
	setenv("KMALLOC_CMDLINE", parameters, 1);
	execl("/proc/self/exe", "rseq_step_victim", VICTIM_ARGUMENT, (char *)NULL);
	_exit(99);
}

static void process_start(const struct config *config)
{
	int page_fd = memfd_create("rseq_step", MFD_CLOEXEC), sockets[2];

	snprintf(where, sizeof(where), "[%s] start", config->name);
	if (page_fd < 0 || ftruncate(page_fd, sizeof(*victim)) != 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0)
		fail("no memory or socket to share");
	victim = mmap(NULL, sizeof(*victim), PROT_READ | PROT_WRITE, MAP_SHARED, page_fd, 0);
	if (victim == MAP_FAILED)
		fail("no memory to share");
	choose_cpus();
	victim->cpu_id = config->cpu_id;
	victim->size = sizes[0];
	process = fork();
	if (process == 0)
		run_victim(page_fd, sockets[1], config->cmdline);
	close(page_fd);
	close(sockets[1]);
	sock = sockets[0];
	make_thread();
}

static void process_end(void)
{
	kill(process, SIGKILL);
	waitpid(thread, NULL, __WALL);
	waitpid(process, NULL, 0);
	process = 0;
	close(sock);
	munmap(victim, sizeof(*victim));
}

/* The injections. The thread stands at the point; each leaves it parked, or ended. */

static void finish(int number)
{
	if (go_on(number) != STOP_PARK)
		fail("the thread did not come back from the point");
}

/* The same, and see whether the kernel aborts the section. */
static void finish_aborting(const struct step_section *section, int number)
{
	struct breakpoint handler = plant(section->abort);

	if (go_on(number) != STOP_BREAK || registers().rip != handler.address + 1)
		fail("the section was not aborted");
	unplant(&handler);
	set_ip(handler.address);
	done.aborts++;
	finish(0);
}

static void resume(const struct step_section *section, uint64_t point, int number)
{
	/* a forked child is not traced: no breakpoint may be in its text */
	if (step_aborts(section, point) && number != SIGUSR2)
		finish_aborting(section, number);
	else
		finish(number);
}

static void resume_with_handler(const struct step_section *section, uint64_t point, int number)
{
	unsigned before = atomic_load(&victim->handled);

	resume(section, point, number);
	if (atomic_load(&victim->handled) != before + 1)
		fail("the handler did not run");
}

static void end_thread(void)
{
	set_ip(victim->exit_ip);
	if (go_on(0) != STOP_EXIT)
		fail("the thread did not end");
	ask(HELPER_JOIN, 0);
}

static void inject(enum injection injection, const struct step_section *section, uint64_t point)
{
	cpu_set_t other;

	switch (injection) {
	case PREEMPT:
		resume(section, point, 0);
		break;
	case SIGNAL:
		resume_with_handler(section, point, SIGUSR1);
		break;
	case MIGRATE:
		CPU_ZERO(&other);
		CPU_SET(victim->other_cpu, &other);
		if (sched_setaffinity(thread, sizeof(other), &other) != 0)
			fail("the thread cannot be moved");
		resume(section, point, 0);
		break;
	case SHARE:
		done.shares++;
		done.shared += ask(HELPER_MEDDLE, (unsigned)step_random(&random_state)) != 0;
		resume(section, point, 0);
		break;
	case DRAIN:
		ask(HELPER_DRAIN, 0);
		resume(section, point, 0);
		break;
	case FORK:
		resume_with_handler(section, point, SIGUSR2);
		break;
	default:
		end_thread();
		break;
	}
}

/* What may be lost with a thread that ended at the point, in objects of the size at hand. */
static bool loss_is_right(const struct step_section *section, uint64_t point, unsigned op,
			  long lost)
{
	long object = ask(HELPER_SIZE, op);
	bool committed = point == section->post;

	/* an event is written behind its allocation, and before its free */
	if (section->is_event && victim_op_kind(op) != OP_OTHER)
		return lost == object;
	if (strncmp(section->name, "percpu_", 7) != 0) {
		if (victim_op_kind(op) == OP_ONE_ALLOC)
			return lost % object == 0 && lost / object == committed;
		if (victim_op_kind(op) == OP_ONE_FREE)
			return lost == (committed ? 0 : object);
	}
	return lost >= 0 && lost <= LOST_MAX * object;
}

static void settle(enum injection injection, const struct step_section *section, uint64_t point,
		   unsigned op)
{
	long lost = ask(HELPER_SETTLE, injection == KILL);
	char text[100];

	if (injection == KILL ? !loss_is_right(section, point, op, lost) : lost != 0) {
		snprintf(text, sizeof(text), "%+ld bytes in use that nobody has", lost);
		fail(text);
	}
	if (injection == KILL)
		make_thread();
}

/* Run the operation up to the point. False: it did not come by. */
static bool arrive(const struct step_section *section, uint64_t point, unsigned op)
{
	/* to the abort handler only an abort leads */
	bool by_abort = point == section->abort;
	struct breakpoint at;
	uint64_t ip;

	prepare(op);
	at = plant(by_abort ? step_commit(section) : point);
	if (command(VICTIM_RUN, op) == STOP_PARK) {
		unplant(&at);
		return false;
	}
	unplant(&at);
	ip = registers().rip;
	/* preempted on the way here, it was sent to the abort handler first */
	if (ip != at.address + 1 && ip != victim->base + section->abort)
		fail("the thread stopped elsewhere");
	if (ip == at.address + 1)
		set_ip(at.address);
	if (!by_abort)
		return true;
	at = plant(section->abort);
	if (go_on(0) != STOP_BREAK || registers().rip != at.address + 1)
		fail("the section was not aborted");
	unplant(&at);
	set_ip(at.address);
	return true;
}

static void trial(const struct config *config, const struct step_section *section, unsigned nth,
		  enum injection injection, unsigned op)
{
	uint64_t point = section->point[nth];

	victim->size = sizes[step_random(&random_state) % (sizeof(sizes) / sizeof(sizes[0]))];
	snprintf(where, sizeof(where), "[%s] %s, point %u of %u, %s, by %s(%zu)", config->name,
		 section->name, nth + 1, section->nr_points, injection_names[injection],
		 victim_op_name(op), victim->size);
	alarm(HANG_SECONDS);
	for (int i = 0; i < TRIES; i++) {
		if (arrive(section, point, op)) {
			inject(injection, section, point);
			settle(injection, section, point, op);
			done.injected[injection]++;
			done.trials++;
			return;
		}
		settle(PREEMPT, section, point, op);
	}
	fail("the operation does not come by any more");
}

/* Which sections commit in an operation: those whose breakpoints it hits. */
static void find_reached(unsigned config, unsigned op)
{
	struct breakpoint commits[STEP_SECTIONS_MAX];
	enum stop stop;

	snprintf(where, sizeof(where), "[%s] %s", configs[config].name, victim_op_name(op));
	alarm(HANG_SECONDS);
	prepare(op);
	for (unsigned i = 0; i < nr_sections; i++)
		commits[i] = plant(step_commit(&sections[i]));
	stop = command(VICTIM_RUN, op);
	while (stop == STOP_BREAK) {
		uint64_t ip = registers().rip;

		for (unsigned i = 0; i < nr_sections; i++) {
			if (ip != commits[i].address + 1 && ip != victim->base + sections[i].abort)
				continue;
			reaches[config][i][op] = true;
			unplant(&commits[i]);
			if (ip == commits[i].address + 1)
				set_ip(commits[i].address);
			break;
		}
		stop = go_on(0);
	}
	for (unsigned i = 0; i < nr_sections; i++)
		if (!reaches[config][i][op])
			unplant(&commits[i]);
	settle(PREEMPT, NULL, 0, op);
}

/* Does any operation commit in the section, in the configurations of one index? */
static bool is_reached(unsigned config, unsigned section)
{
	for (unsigned i = 0; i < CONFIGS_PER_INDEX; i++)
		for (unsigned op = 0; op < victim_nr_ops; op++)
			if (reaches[config + i][section][op])
				return true;
	return false;
}

static void find_all(void)
{
	unsigned missing = 0;

	for (unsigned config = 0; config < NR_CONFIGS; config++) {
		process_start(&configs[config]);
		for (unsigned op = 0; op < victim_nr_ops; op++)
			find_reached(config, op);
		process_end();
	}
	for (unsigned config = 0; config < NR_CONFIGS; config += CONFIGS_PER_INDEX) {
		for (unsigned i = 0; i < nr_sections; i++) {
			if (is_reached(config, i))
				continue;
			step_say(2, "FAILED: [%s] no operation commits in %s", configs[config].name,
				 sections[i].name);
			missing++;
		}
	}
	if (missing)
		step_fail("%u sections are out of reach", missing);
}

/* The nth operation that commits in a section; victim_nr_ops: there are not so many. */
static unsigned nth_op(unsigned config, unsigned section, unsigned nth)
{
	unsigned op;

	for (op = 0; op < victim_nr_ops; op++)
		if (reaches[config][section][op] && !nth--)
			break;
	return op;
}

/* All points of a section, each with the injection whose turn it is. False: no time is left. */
static bool section_trials(unsigned config, unsigned nth_section, unsigned sweep)
{
	const struct step_section *section = &sections[nth_section];
	unsigned op = nth_op(config, nth_section, sweep / NR_INJECTIONS);

	if (op == victim_nr_ops)
		return true;
	for (unsigned nth = 0; nth < section->nr_points; nth++) {
		enum injection injection = (nth + nth_section + sweep) % NR_INJECTIONS;

		if (step_now_ms() > deadline_ms)
			return false;
		if (injection != MIGRATE || victim->other_cpu >= 0)
			trial(&configs[config], section, nth, injection, op);
		done.points += sweep == 0;
	}
	return true;
}

/*
 * Every section at every point, each with one injection; after as many sweeps as there are
 * injections each point had them all, and the next way to each section follows.
 */
static bool run_sweep(unsigned sweep)
{
	bool in_time = true;

	for (unsigned config = 0; in_time && config < NR_CONFIGS; config++) {
		process_start(&configs[config]);
		for (unsigned i = 0; in_time && i < nr_sections; i++)
			in_time = section_trials(config, i, sweep);
		process_end();
	}
	step_say(2, "rseq_step: way %u, sweep %u of %u: %u injections so far",
		 sweep / NR_INJECTIONS + 1, sweep % NR_INJECTIONS + 1, NR_INJECTIONS, done.trials);
	return in_time;
}

static bool more_ways(unsigned way)
{
	for (unsigned config = 0; config < NR_CONFIGS; config++)
		for (unsigned i = 0; i < nr_sections; i++)
			if (nth_op(config, i, way) != victim_nr_ops)
				return true;
	return false;
}

static void report(unsigned sweeps)
{
	char text[400];
	int n = 0;

	for (int i = 0; i < NR_INJECTIONS; i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, "%s%u %s", i ? ", " : "",
			      done.injected[i], injection_names[i]);
	step_say(1,
		 "rseq_step: %u sections, %u points over %u configurations, %u sweeps of %u for "
		 "every injection; %u injections (%s); %u aborts seen; %u of %u threads that "
		 "shared had the same area",
		 nr_sections, done.points, (unsigned)NR_CONFIGS, sweeps, NR_INJECTIONS, done.trials,
		 text, done.aborts, done.shared, done.shares);
}

static int find_library(struct dl_phdr_info *info, size_t size, void *unused)
{
	(void)size, (void)unused;
	if (!strstr(info->dlpi_name, "libkmalloc"))
		return 0;
	snprintf(library, sizeof(library), "%s", info->dlpi_name);
	return 1;
}

/* The one that is preloaded here, else that of the build which this program is part of. */
static void choose_library(void)
{
	char self[300];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (dl_iterate_phdr(find_library, NULL))
		return;
	for (int up = 0; up < 3 && n > 0; up++)
		while (n > 0 && self[--n] != '/')
			;
	self[n > 0 ? n : 0] = '\0';
	snprintf(library, sizeof(library), "%s/libkmalloc.so", self);
	if (access(library, R_OK) != 0)
		step_fail("no %s: preload the library", library);
}

static unsigned long argument(int argc, char **argv, const char *name, unsigned long otherwise)
{
	for (int i = 1; i + 1 < argc; i++)
		if (!strcmp(argv[i], name))
			return strtoul(argv[i + 1], NULL, 0);
	return otherwise;
}

int main(int argc, char **argv)
{
	unsigned sweeps = 0;

	if (argc == 2 && !strcmp(argv[1], VICTIM_ARGUMENT))
		return victim_main();
	seed = random_state = argument(argc, argv, "--seed", 1);
	deadline_ms = step_now_ms() + 1000 * argument(argc, argv, "--seconds", 3600);
	snprintf(step_repeat, sizeof(step_repeat), "repeat: %s --seed %" PRIu64, argv[0], seed);
	if (!__rseq_size) {
		step_say(2, "skipped: no rseq here");
		return STEP_SKIP;
	}
	signal(SIGALRM, on_alarm);
	signal(SIGPIPE, SIG_IGN);
	choose_library();
	nr_sections = step_sections(library, sections, STEP_SECTIONS_MAX);
	find_all();
	while (more_ways(sweeps / NR_INJECTIONS) && run_sweep(sweeps))
		sweeps++;
	report(sweeps);
	return 0;
}
