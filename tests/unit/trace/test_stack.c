/* SPDX-License-Identifier: MIT */
/*
 * test_stack.c - call stacks, compared with what the compiler's own unwinder says (backtrace(3)).
 *
 * Threads call at random through functions of all shapes, one of which asks for the stack, in a tree, so that
 * stacks share some of their frames with the one before, as in a program; signals interrupt them at any instruction and ask too.
 */
#include "unit.h"

#include "trace/depot.h"

#include <execinfo.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <ucontext.h>

#define THREADS 4
#define DEPTH 60
#define FRAMES_MAX 4096

#define no_inline __attribute__((noinline, noclone))
#define no_tail_call() __asm__ volatile("" ::: "memory")

static _Thread_local uint64_t seed;
static _Thread_local unsigned stacks_left, asked, steps;
static _Atomic unsigned long checked, in_handlers, longest, cut, incomplete;

static struct trace_depot *depot(void)
{
	return (struct trace_depot *)trace_control.depot;
}

static const struct trace_node *node_at(uint32_t number)
{
	return (const struct trace_node *)((const char *)depot() + depot()->nodes) + number;
}

/* The stack of that number is frames[0] to frames[count - 1], or the innermost of these. */
static void check_stack(uint32_t number, void *const *frames, size_t count)
{
	size_t n = 0;

	CHECK(number > TRACE_NODE_CUT);
	for (; number > TRACE_NODE_CUT; number = node_at(number)->parent) {
		CHECK(n < count);
		CHECK_EQ(node_at(number)->ip, frames[n]);
		CHECK(node_at(number)->parent < number);
		n++;
	}
	/* a signal may come in a procedure linkage table, which is not unwound */
	if (number == TRACE_NODE_ROOT)
		CHECK_EQ(n, count);
	else if (n != TRACE_STACK_FRAMES)
		cut++;
	if (n < count && n != TRACE_STACK_FRAMES)
		incomplete++;
	if (n > longest)
		longest = n;
	checked++;
}

/* As entry points ask, mostly, and as others do, from which it is the same. */
static always_inline uint32_t stack_from(const void *site, uintptr_t sp, gfp_t gfp)
{
	uint32_t number = trace_stack(site, ++asked % 4 ? sp : 0, gfp);

	if (asked % 16 == 0)
		CHECK_EQ(trace_stack(site, sp, gfp), number);
	return number;
}

static no_inline void check_by_backtrace(uint32_t number, const void *site)
{
	void *frames[FRAMES_MAX];
	size_t count = (size_t)backtrace(frames, FRAMES_MAX), skip = 0;

	while (skip < count && frames[skip] != site)
		skip++;
	check_stack(number, frames + skip, count - skip);
	no_tail_call();
}

/* What it calls is interrupted at each of its instructions, by SIGTRAP. */
static always_inline void step(void)
{
	__asm__ volatile("pushfq; orl $0x100, (%%rsp); popfq" ::: "cc", "memory");
}

static always_inline void step_no_more(void)
{
	__asm__ volatile("pushfq; andl $~0x100, (%%rsp); popfq" ::: "cc", "memory");
}

/* Where it is called from is the call site. */
static no_inline void ask(void)
{
	void *site = CALLER;
	uint32_t number;

	if (steps)
		step();
	number = stack_from(site, CALLER_SP, GFP_KERNEL);
	if (steps)
		step_no_more();
	check_by_backtrace(number, site);
	no_tail_call();
}

/* Where the stack ends nobody knows: it is walked, and that is all. */
static no_inline void ask_cut(void)
{
	CHECK(stack_from(CALLER, CALLER_SP, GFP_KERNEL) > TRACE_NODE_CUT);
	no_tail_call();
}

static void go(unsigned depth);

static no_inline void small(unsigned depth)
{
	go(depth);
	no_tail_call();
}

static no_inline __attribute__((optimize("no-omit-frame-pointer"))) void by_bp(unsigned depth)
{
	go(depth);
	no_tail_call();
}

static no_inline void with_room(unsigned depth)
{
	char *room = __builtin_alloca(unit_random(&seed) % 500 + 1);

	__asm__ volatile("" : : "r"(room) : "memory");
	go(depth);
	no_tail_call();
}

static no_inline void realigned(unsigned depth)
{
	_Alignas(128) char buf[256];

	__asm__ volatile("" : : "r"(buf) : "memory");
	go(depth);
	no_tail_call();
}

static no_inline void large(unsigned depth)
{
	char buf[90000];

	__asm__ volatile("" : : "r"(buf) : "memory");
	go(depth);
	no_tail_call();
}

static int compare(const void *a, const void *b)
{
	unsigned depth = *(const unsigned *)a;

	if (stacks_left)
		go(depth);
	no_tail_call();
	return depth < *(const unsigned *)b;
}

/* Through the C library, which has no frame pointers. */
static no_inline void sorted(unsigned depth)
{
	unsigned pair[2] = { depth, depth };

	qsort(pair, 2, sizeof(*pair), compare);
	no_tail_call();
}

static void go(unsigned depth)
{
	static void (*const ways[])(
		unsigned) = { small, by_bp, with_room, realigned, large, sorted };

	/* several calls from one frame, and more often none deeper */
	for (unsigned calls = (unsigned)unit_random(&seed) % 4 + 1; calls && stacks_left; calls--) {
		if (!depth || unit_random(&seed) % 3 == 0) {
			stacks_left--;
			ask();
		} else {
			ways[unit_random(&seed) % ARRAY_SIZE(ways)](depth - 1);
		}
	}
}

static void begin(void)
{
	void *frames[4];

	backtrace(frames, 4); /* loads what it needs */
	trace_depot_create(true);
	CHECK(depot());
}

/* None of these but the last touches rbp: it is that of a frame further out. */
static no_inline void inner(void)
{
	ask();
	no_tail_call();
}

static no_inline void other_inner(void)
{
	ask();
	no_tail_call();
	no_tail_call();
}

static no_inline void saving(void)
{
	__asm__ volatile("" ::: "rbp");
	ask();
	no_tail_call();
}

static no_inline void middle(unsigned choice)
{
	if (choice % 3 == 0)
		inner();
	else if (choice % 3 == 1)
		other_inner();
	else
		saving();
	no_tail_call();
}

/* Found by rbp alone: where it is depends on nothing that is inside of it. */
static no_inline __attribute__((optimize("no-omit-frame-pointer"))) void room(unsigned choice)
{
	char *room = __builtin_alloca(choice / 4 % 16 * 16 + 16);

	__asm__ volatile("" : : "r"(room) : "memory");
	middle(choice);
	no_tail_call();
}

#define PADDED(name, bytes, callee)                                                                \
	static no_inline void name(unsigned choice)                                                \
	{                                                                                          \
		char pad[bytes];                                                                   \
                                                                                                   \
		__asm__ volatile("" : : "r"(pad) : "memory");                                      \
		callee(choice);                                                                    \
		no_tail_call();                                                                    \
	}

PADDED(room_16, 16, room)
PADDED(room_64, 64, room)
PADDED(room_128, 128, room)
PADDED(plain_16, 16, middle)
PADDED(plain_128, 128, middle)
PADDED(plain_240, 240, middle)

/*
 * Frames at the same place, of the same functions, whose callers are elsewhere; what these had left on the stack before is still there,
 * as nothing writes to the pads.
 */
static void frames_whose_callers_moved_are_told_apart(void)
{
	static void (*const pads[])(unsigned) = { room,	    room_16,   room_64,	 room_128,
						  plain_16, plain_128, plain_240 };

	begin();
	seed = unit_seed();
	for (unsigned i = 0; i < 200000; i++)
		pads[unit_random(&seed) % ARRAY_SIZE(pads)]((unsigned)unit_random(&seed) % 1024);
	CHECK_EQ(checked, 200000);
	CHECK_EQ(cut, 0);
}

static void *asks(void *arg)
{
	seed = unit_seed() + (uintptr_t)arg * 977 + 1;
	stacks_left = 20000;
	while (stacks_left)
		go(DEPTH);
	return NULL;
}

static void run_threads(void)
{
	pthread_t id[THREADS];
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 16UL << 20);
	for (size_t i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_create(&id[i], &attr, asks, (void *)i), 0);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(id[i], NULL);
}

static void every_stack_is_what_backtrace_says(void)
{
	begin();
	asks(NULL);
	CHECK_EQ(checked, 20000);
	run_threads();
	CHECK_EQ(checked, 20000 * (1 + THREADS));
	CHECK_EQ(cut, 0);
	CHECK_EQ(depot()->lost, 0);
}

static void on_signal(int sig)
{
	(void)sig;
	in_handlers++;
	ask();
	no_tail_call();
}

static void stacks_in_handlers_are_right(void)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	struct itimerval each = { { 0, 300 }, { 0, 300 } }, never = { 0 };

	begin();
	sigaction(SIGPROF, &action, NULL);
	setitimer(ITIMER_PROF, &each, NULL);
	run_threads();
	setitimer(ITIMER_PROF, &never, NULL);
	printf("%lu stacks in handlers, %lu of them cut\n", (unsigned long)in_handlers,
	       (unsigned long)cut);
	CHECK(in_handlers > 20);
	CHECK_EQ(checked, 20000 * THREADS + in_handlers);
	CHECK(cut < in_handlers / 10);
	CHECK_EQ(depot()->lost, 0);
}

static no_inline __attribute__((optimize("no-omit-frame-pointer"))) void leaves(size_t bytes)
{
	volatile char *room = __builtin_alloca(bytes);

	room[0] = 1;
}

static no_inline void pops(unsigned n)
{
	__asm__ volatile("" : : "r"(n) : "rbx", "rbp", "r12", "r13", "r14", "r15", "memory");
}

/* Its own stack is found by rbp, as step() moves the stack pointer. */
static no_inline __attribute__((optimize("no-omit-frame-pointer"))) void step_through(size_t bytes)
{
	step();
	leaves(bytes);
	pops(1);
	step_no_more();
}

/* What a signal interrupts, at each instruction, on the same stack and on another one. */
static void every_instruction_can_be_unwound(void)
{
	static char alternate[65536];
	stack_t stack = { .ss_sp = alternate, .ss_size = sizeof(alternate) };
	struct sigaction action = { .sa_handler = on_signal };
	/* 3 KiB above a page's start: code that is interrupted with its stack pointer at one is cut, 1 in 256 */
	volatile char *room =
		__builtin_alloca(((uintptr_t)__builtin_frame_address(0) + 1024) & 4080);

	room[0] = 1;
	begin();
	for (int i = 0; i < 2; i++) {
		sigaction(SIGTRAP, &action, NULL);
		for (size_t bytes = 16; bytes < 16384; bytes += 128)
			step_through(bytes);
		action.sa_flags = SA_ONSTACK;
		sigaltstack(&stack, NULL);
	}
	CHECK(in_handlers > 2 * 128 * 20);
	CHECK_EQ(checked, in_handlers);
	CHECK_EQ(cut, 0);
	CHECK_EQ(depot()->lost, 0);
}

static no_inline void ask_atomically(void)
{
	CHECK(stack_from(CALLER, CALLER_SP, GFP_NOWAIT) > TRACE_NODE_CUT);
	no_tail_call();
}

/* Who may not ask the system does not get beyond the frame of the signal. */
static void on_signal_by_turns(int sig)
{
	(void)sig;
	for (int i = 0; i < 3; i++) {
		ask();
		ask_atomically();
	}
	ask();
	no_tail_call();
}

static void a_stack_that_was_cut_is_whole_again(void)
{
	begin();
	signal(SIGUSR1, on_signal_by_turns);
	for (int i = 0; i < 3; i++)
		raise(SIGUSR1);
	CHECK_EQ(checked, 3 * 4);
	CHECK_EQ(cut, 0);
}

/* Modules come, and pages go, while others walk. */
static void *disturbs(void *stop)
{
	while (!atomic_load((_Atomic bool *)stop)) {
		trace_modules_changed();
		usleep(100);
	}
	return NULL;
}

static void stacks_are_right_when_rules_are_forgotten(void)
{
	_Atomic bool stop = false;
	pthread_t id;

	begin();
	pthread_create(&id, NULL, disturbs, &stop);
	run_threads();
	atomic_store(&stop, true);
	pthread_join(id, NULL);
	CHECK_EQ(checked, 20000 * THREADS);
	CHECK_EQ(cut, 0);
	CHECK_EQ(depot()->lost, 0);
}

static no_inline void asks_deep(unsigned depth)
{
	if (depth)
		asks_deep(depth - 1);
	else
		for (int i = 0; i < 50; i++)
			trace_stack(CALLER, i % 4 ? CALLER_SP : 0, GFP_KERNEL);
	no_tail_call();
}

static void *asks_on(void *stop)
{
	for (unsigned depth = 0; !atomic_load((_Atomic bool *)stop); depth = (depth + 7) % 300)
		asks_deep(depth);
	return NULL;
}

/* More threads than CPUs, so that some stand still anywhere. */
static void pages_go_while_threads_walk(void)
{
	_Atomic bool stop = false;
	pthread_t id[16];

	begin();
	for (size_t i = 0; i < ARRAY_SIZE(id); i++)
		CHECK_EQ(pthread_create(&id[i], NULL, asks_on, &stop), 0);
	for (int i = 0; i < 300; i++) {
		usleep(5000);
		trace_depot_discard();
	}
	atomic_store(&stop, true);
	for (size_t i = 0; i < ARRAY_SIZE(id); i++)
		pthread_join(id[i], NULL);
	CHECK(depot()->used > TRACE_NODE_CUT + 1);
}

static no_inline void deeper(unsigned depth)
{
	if (depth)
		deeper(depth - 1);
	else
		ask();
	no_tail_call();
}

static void a_stack_that_is_too_deep_keeps_its_innermost_frames(void)
{
	begin();
	for (unsigned depth = 0; depth < 1200; depth += 7)
		deeper(depth);
	for (unsigned depth = 1200; depth; depth--)
		deeper(depth);
	CHECK_EQ(longest, TRACE_STACK_FRAMES);
}

/* Memos that nobody puts back, as a handler leaves them that jumps: stacks are walked without. */
static void a_thread_without_a_memo_walks_its_stack(void)
{
	begin();
	while (depot_take_memo(depot(), (uintptr_t)&depot()->lost + checked++, GFP_KERNEL))
		;
	checked = 0;
	seed = 5;
	for (stacks_left = 2000; stacks_left;)
		go(20);
	for (unsigned depth = 80; depth < 200; depth++)
		deeper(depth);
	CHECK_EQ(checked, 2000 + 120);
	CHECK_EQ(depot()->lost, 0);
}

static void a_memo_that_a_jump_left_is_found_again(void)
{
	uintptr_t here = (uintptr_t)&here;
	struct stack_memo *memo;

	begin();
	memo = depot_take_memo(depot(), here, GFP_KERNEL);
	/* with what was being written to it */
	memo->nr = 1;
	memo->tag[1][2] = 3;
	CHECK(memo && depot_take_memo(depot(), here, GFP_KERNEL) == memo);
	CHECK_EQ(memo->nr, 0);
	CHECK_EQ(memo->tag[1][2], 0);
	CHECK(depot_take_memo(depot(), here + 8, GFP_KERNEL) != memo);
}

/* As the end of tracing does before its pages go. */
static void a_memo_that_is_closed_is_let_be(void)
{
	uintptr_t here = (uintptr_t)&here;
	struct stack_memo *own, *other;

	begin();
	own = depot_take_memo(depot(), here, GFP_KERNEL);
	CHECK(own);
	depot_put_memo(own);
	CHECK(depot_take_memo(depot(), here, GFP_KERNEL) == own);
	depot_put_memo(own);
	own->is_closed = true;
	other = depot_take_memo(depot(), here, GFP_KERNEL);
	CHECK(other && other != own);
	CHECK_EQ(own->busy, 0);
	depot_put_memo(other);
	own->is_closed = false;
	CHECK(depot_take_memo(depot(), here, GFP_KERNEL) == own);
}

static void *takes_memo(void *memo)
{
	uintptr_t here = (uintptr_t)&here;

	*(struct stack_memo **)memo = depot_take_memo(depot(), here, GFP_KERNEL);
	return NULL;
}

/* Each ends with its memo in use; and one that comes to the place of one that is gone gets that, forgotten. */
static void a_thread_that_is_gone_leaves_its_memo(void)
{
	struct stack_memo *memo[1000] = { NULL };
	pthread_t id;

	begin();
	for (size_t i = 0; i < ARRAY_SIZE(memo); i++) {
		pthread_create(&id, NULL, takes_memo, &memo[i]);
		pthread_join(id, NULL);
		CHECK(memo[i]);
		CHECK(!memo[i]->nr);
		memo[i]->nr = 1;
	}
	/* the C library gives a new thread the stack of one that is gone */
	CHECK(memo[998] == memo[999]);
}

/* Its place tells that a holder is gone, and nothing else: not that this thread has one of another depot by now. */
static void a_memo_of_an_old_depot_stays_its_holders(void)
{
	uintptr_t here = (uintptr_t)&here;
	struct stack_memo *first, *second;
	struct trace_depot *old;

	begin();
	old = depot();
	first = depot_take_memo(old, here, GFP_KERNEL);
	old->used = old->nr_nodes / 2;
	trace_depot_discard();
	trace_depot_create(true);
	CHECK(depot() != old);
	second = depot_take_memo(depot(), here + 8, GFP_KERNEL);
	CHECK(depot_has_memo(old, first) && depot_has_memo(depot(), second));
	/* who had looked for the depot before that */
	CHECK(depot_take_memo(old, here + 16, GFP_KERNEL) != first);
	CHECK(depot_take_memo(depot(), here + 24, GFP_KERNEL) != second);
	CHECK_EQ(first->busy, here);
	CHECK_EQ(second->busy, here + 8);
}

static void memos_whose_pages_stay_can_be_used_again(void)
{
	uintptr_t here = (uintptr_t)&here;
	struct stack_memo *own, *shared;

	begin();
	own = depot_take_memo(depot(), here, GFP_KERNEL);
	shared = depot_take_memo(depot(), here + 8, GFP_KERNEL);
	CHECK(shared && shared != own);
	depot_put_memo(shared);
	CHECK_EQ(mlock(shared, 1), 0);
	shared->nr = 1;
	trace_depot_discard();
	CHECK(depot_take_memo(depot(), here + 8, GFP_KERNEL) == shared);
	CHECK_EQ(shared->nr, 0);
}

#define USER_THREADS 3
#define USER_STACK (16UL << 20)
#define USER_STACKS 5000U

static ucontext_t user_thread[USER_THREADS + 1]; /* the last is who started them */
static unsigned running, user_threads_left, turns;
static uint64_t turn_seed;

static void switch_to(unsigned next)
{
	unsigned before = running;

	running = next;
	swapcontext(&user_thread[before], &user_thread[next]);
}

static void run_user_thread(void)
{
	while (stacks_left)
		go(12);
	user_threads_left--;
	/* those that are interrupted have theirs to end */
	for (;;)
		switch_to(user_threads_left ? (running + 1) % USER_THREADS : USER_THREADS);
}

/* Mostly among the first of a stack's instructions: there the memo is taken. */
static unsigned draw_steps(void)
{
	return 1 + (unsigned)unit_random(&turn_seed) % (unit_random(&turn_seed) % 16 ? 64 : 1024);
}

/* After so many instructions another one's turn comes. */
static void on_step(int sig, siginfo_t *info, void *context)
{
	ucontext_t *at = context;

	(void)sig, (void)info;
	if (--steps)
		return;
	at->uc_mcontext.gregs[REG_EFL] &= ~0x100;
	steps = draw_steps();
	turns++;
	switch_to((running + 1 + (unsigned)unit_random(&turn_seed) % (USER_THREADS - 1)) %
		  USER_THREADS);
}

/* As some languages' threads are, which a timer's handler switches between: all have the system's one thread, and its memo. */
static void user_level_threads_share_a_thread(void)
{
	struct sigaction action = { .sa_sigaction = on_step, .sa_flags = SA_SIGINFO | SA_NODEFER };

	begin();
	turn_seed = unit_seed();
	seed = turn_seed + 1;
	stacks_left = USER_STACKS;
	user_threads_left = USER_THREADS;
	sigaction(SIGTRAP, &action, NULL);
	for (unsigned i = 0; i < USER_THREADS; i++) {
		getcontext(&user_thread[i]);
		user_thread[i].uc_stack.ss_sp = mmap(NULL, USER_STACK, PROT_READ | PROT_WRITE,
						     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		user_thread[i].uc_stack.ss_size = USER_STACK;
		makecontext(&user_thread[i], run_user_thread, 0);
	}
	steps = draw_steps();
	running = USER_THREADS;
	switch_to(0);
	steps = 0;
	printf("%u turns\n", turns);
	CHECK_EQ(checked, USER_STACKS);
	CHECK_EQ(depot()->lost, 0);
	/* all end where nobody knows */
	CHECK_EQ(incomplete, 0);
}

static ucontext_t back, other;

static void on_other_stack(void)
{
	uint32_t number = trace_stack(NULL, 0, GFP_KERNEL);

	/* no call site is NULL: it is looked for up to the end */
	CHECK_EQ(number, 0);
	stacks_left = 1;
	/* it ends where the stack does, not behind */
	CHECK(stack_from(CALLER, CALLER_SP, GFP_KERNEL) > TRACE_NODE_CUT);
}

static void a_stack_with_nothing_behind_it_is_not_left(void)
{
	const size_t size = 65536;
	char *stack;

	begin();
	stack = mmap(NULL, 3 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(stack + size, size, PROT_READ | PROT_WRITE);
	getcontext(&other);
	other.uc_stack.ss_sp = stack + size;
	other.uc_stack.ss_size = size;
	other.uc_link = &back;
	makecontext(&other, on_other_stack, 0);
	for (int i = 0; i < 3; i++)
		swapcontext(&back, &other), getcontext(&other);
}

/* What it calls has a stack that is empty: by the tables its caller has room there. */
static no_inline void call_on(void (*function)(void), void *sp)
{
	__asm__ volatile("movq %%rsp, %%r12\n\t"
			 "movq %1, %%rsp\n\t"
			 "call *%0\n\t"
			 "movq %%r12, %%rsp"
			 :
			 : "r"(function), "r"(sp)
			 : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12",
			   "memory", "cc");
}

static void *place_in_code;

static no_inline void note_place(void)
{
	place_in_code = CALLER;
}

/* The frames that were behind it go, with their page, and what is remembered of them is not looked at. */
static void leave_no_stack(int around)
{
	const size_t size = 4096, words = size / sizeof(void *);
	void **stack, *at;

	begin();
	note_place();
	at = mmap(NULL, 16 * size, around, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < 8; i++) {
		stack = mmap(at, 2 * size, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		for (size_t word = words; word < 2 * words; word++)
			stack[word] = place_in_code;
		for (int turn = 0; turn < 8; turn++) {
			call_on(ask_cut, &stack[words]);
			call_on(ask_cut, &stack[words + 16]);
		}
		munmap(&stack[words], size);
		call_on(ask_cut, &stack[words]);
	}
	CHECK_EQ(depot()->lost, 0);
}

static void a_stack_that_ends_with_its_page_is_not_left(void)
{
	leave_no_stack(PROT_NONE);
}

/* The first thread's control block is among such maps, and all up to it may be there. */
static void a_stack_below_the_first_threads_block_is_not_left(void)
{
	leave_no_stack(PROT_READ | PROT_WRITE);
}

/* Code without tables, whose rbp points into a hole. */
static void frame_pointers_are_not_believed(void)
{
	static const uint8_t code[] = {
		0x55,		  /* push %rbp */
		0x48, 0x89, 0xd5, /* mov %rdx, %rbp */
		0xff, 0xd7,	  /* call *%rdi */
		0x5d, 0xc3,	  /* pop %rbp; ret */
	};
	uint8_t *page =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void (*run)(void (*)(void), size_t, uintptr_t);
	uintptr_t here = (uintptr_t)&run;

	begin();
	memcpy(page, code, sizeof(code));
	CHECK_EQ(mprotect(page, 4096, PROT_READ | PROT_EXEC), 0);
	memcpy(&run, &page, sizeof(run));
	/* up to the end of the stack, beyond it, not aligned, nowhere */
	for (uintptr_t at = here; at < here + (1UL << 20); at += 1000)
		run(ask_cut, 0, at);
	for (uintptr_t at = 8; at; at <<= 1)
		run(ask_cut, 0, at);
	CHECK_EQ(depot()->lost, 0);
}

static void *believes_no_frame_pointer(void *unused)
{
	frame_pointers_are_not_believed();
	return unused;
}

static void frame_pointers_are_not_believed_in_threads(void)
{
	pthread_t id;

	pthread_create(&id, NULL, believes_no_frame_pointer, NULL);
	pthread_join(id, NULL);
}

/* Code that uses the stack pointer for something else, interrupted by a signal on another stack. */
static void on_trap(int sig)
{
	(void)sig;
	ask_cut();
	no_tail_call();
}

static no_inline void trap_at(uintptr_t sp)
{
	__asm__ volatile("movq %%rsp, %%r12\n\t"
			 "movq %0, %%rsp\n\t"
			 "int3\n\t"
			 "movq %%r12, %%rsp"
			 :
			 : "r"(sp)
			 : "r12", "memory");
}

static void stack_pointers_of_signals_are_not_believed(void)
{
	static char alternate[65536];
	stack_t stack = { .ss_sp = alternate, .ss_size = sizeof(alternate) };
	struct sigaction action = { .sa_handler = on_trap, .sa_flags = SA_ONSTACK };
	uintptr_t here = (uintptr_t)&stack;

	begin();
	sigaltstack(&stack, NULL);
	sigaction(SIGTRAP, &action, NULL);
	for (uintptr_t at = 4096; at; at <<= 1)
		trap_at(at);
	for (uintptr_t at = here - (1UL << 25); at < here; at += 1UL << 18)
		trap_at(at);
	CHECK_EQ(depot()->lost, 0);
}

/* Where no system call may be made, and this thread's stack is not known yet: nothing but this page is looked at. */
static void *asks_atomically(void *unused)
{
	CHECK(stack_from(CALLER, CALLER_SP, GFP_NOWAIT) > TRACE_NODE_CUT);
	return unused;
}

static void a_thread_that_may_not_sleep_makes_no_call(void)
{
	pthread_t id;

	begin();
	pthread_create(&id, NULL, asks_atomically, NULL);
	pthread_join(id, NULL);
}

static void what_is_given_back_is_not_met_again(void)
{
	uint64_t used;

	begin();
	seed = 1;
	for (int session = 0; session < 5; session++) {
		stacks_left = 500;
		while (stacks_left)
			go(DEPTH);
		used = depot()->used;
		trace_depot_discard();
		CHECK_EQ(depot()->used, used);
	}
	CHECK_EQ(checked, 5 * 500);
}

int main(void)
{
	static const struct unit_case cases[] = {
		UNIT_TEST(every_stack_is_what_backtrace_says),
		UNIT_TEST(frames_whose_callers_moved_are_told_apart),
		UNIT_TEST(stacks_in_handlers_are_right),
		UNIT_TEST(every_instruction_can_be_unwound),
		UNIT_TEST(a_stack_that_was_cut_is_whole_again),
		UNIT_TEST(stacks_are_right_when_rules_are_forgotten),
		UNIT_TEST(pages_go_while_threads_walk),
		UNIT_TEST(a_stack_that_is_too_deep_keeps_its_innermost_frames),
		UNIT_TEST(a_thread_without_a_memo_walks_its_stack),
		UNIT_TEST(a_memo_that_a_jump_left_is_found_again),
		UNIT_TEST(a_memo_that_is_closed_is_let_be),
		UNIT_TEST(a_thread_that_is_gone_leaves_its_memo),
		UNIT_TEST(a_memo_of_an_old_depot_stays_its_holders),
		UNIT_TEST(memos_whose_pages_stay_can_be_used_again),
		UNIT_TEST(user_level_threads_share_a_thread),
		UNIT_TEST(a_stack_with_nothing_behind_it_is_not_left),
		UNIT_TEST(a_stack_that_ends_with_its_page_is_not_left),
		UNIT_TEST(a_stack_below_the_first_threads_block_is_not_left),
		UNIT_TEST(frame_pointers_are_not_believed),
		UNIT_TEST(frame_pointers_are_not_believed_in_threads),
		UNIT_TEST(stack_pointers_of_signals_are_not_believed),
		UNIT_TEST(a_thread_that_may_not_sleep_makes_no_call),
		UNIT_TEST(what_is_given_back_is_not_met_again),
	};

	return UNIT_MAIN(cases);
}
