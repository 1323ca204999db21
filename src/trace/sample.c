/* SPDX-License-Identifier: MIT */
/*
 * sample.c - which allocations a sampling trace tells of.
 *
 * Each byte that is allocated has the same chance, 1 / mean, to be the one whose allocation is sampled: the distance to
 * the next such byte is exponentially distributed. So an allocation of n bytes is
 * sampled with probability 1 - e^(-n / mean), and stands for the inverse of that times n bytes: sums over
 * samples are unbiased, whatever the sizes. The bytes are those that the object takes: of its cache, or whole pages.
 *
 * Who counts: of objects of the kmalloc classes each CPU, for each class, in objects (slab/percpu_sample.c); of areas,
 * and where calls are diverted one by one, each thread, in bytes. The exponential distribution has no memory: what is left of one
 * distance is distributed as a new one. So it does not matter which count an allocation is put to, as long as it is put
 * to one, and that is not chosen by what the count is.
 *
 * The C library's log() and exp() are in another library; what is here is good to a few parts in a million.
 *
 * State: the thread's own. A handler that interrupts it may draw twice from one state: that is a sample more or less.
 */
#include "trace/trace.h"

#include "lib/port.h"

#define DISTANCE_MAX 0x1p46

static _Thread_local int64_t bytes_left initial_exec;	 /* to the next one; 0: not drawn yet */
static _Thread_local uint32_t drawn_for initial_exec;	 /* the generation whose mean that is of */
static _Thread_local uint64_t random_state initial_exec; /* 0: no seed yet */

static cold_path uint64_t new_seed(void)
{
	return (__builtin_ia32_rdtsc() ^ (uintptr_t)&random_state) * 0x9e3779b97f4a7c15UL | 1;
}

static uint64_t next_random(void)
{
	uint64_t x = random_state;

	if (unlikely(!x))
		x = new_seed();
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	random_state = x;
	return x * 0x2545f4914f6cdd1dUL;
}

/* The natural logarithm; x is above 0. */
static double logarithm(double x)
{
	union {
		double value;
		uint64_t bits;
	} split = { x };
	int exponent = (int)(split.bits >> 52) - 1023;
	double t, square, sum = 0;

	split.bits = (split.bits & ((1UL << 52) - 1)) | 1023UL << 52;
	/* ln m = 2 artanh((m - 1) / (m + 1)), m from 1 to 2 */
	t = (split.value - 1) / (split.value + 1);
	square = t * t;
	for (int n = 13; n >= 1; n -= 2)
		sum = sum * square + 1.0 / n;
	return exponent * 0.69314718055994531 + 2 * t * sum;
}

/* e^-x for x of 0 or more. */
static double exponential(double x)
{
	double part = x / 1024, power;

	if (x > 700)
		return 0;
	power = 1 - part + part * part / 2 - part * part * part / 6;
	for (int i = 0; i < 10; i++)
		power *= power;
	return power;
}

double trace_weight(double bytes, double mean)
{
	double x = mean > 0 ? bytes / mean : 0;

	if (x <= 0)
		return bytes;
	/* 1 - e^-x loses digits where x is small */
	if (x < 1e-3)
		return mean / (1 - x / 2 + x * x / 6);
	return bytes / (1 - exponential(x));
}

static double next_distance(void)
{
	double mean = (double)__atomic_load_n(&trace_control.want_sample_bytes, __ATOMIC_RELAXED);
	double uniform = ((double)(next_random() >> 11) + 1) / 9007199254740992.0; /* 2^53 */
	double distance = -logarithm(uniform) * mean;

	return distance < DISTANCE_MAX ? distance : DISTANCE_MAX;
}

uint64_t trace_draw(size_t bytes)
{
	return (uint64_t)(next_distance() / (double)bytes) + 1;
}

static uint32_t generation(void)
{
	return __atomic_load_n(&trace_control.applied, __ATOMIC_RELAXED);
}

/* A thread's first, or the mean may be another one now: what is left of a larger one would be too much. */
static cold_path void draw_anew(void)
{
	drawn_for = generation();
	bytes_left = (int64_t)trace_draw(1);
}

bool trace_sample(size_t bytes)
{
	if (unlikely(!bytes_left || drawn_for != generation()))
		draw_anew();
	if (likely((int64_t)bytes < bytes_left)) {
		bytes_left -= (int64_t)bytes;
		return false;
	}
	draw_anew();
	return true;
}

bool trace_sample_is_due(size_t bytes)
{
	return (int64_t)bytes >= bytes_left || drawn_for != generation();
}
