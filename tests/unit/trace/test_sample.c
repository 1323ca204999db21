/* SPDX-License-Identifier: MIT */
/*
 * test_sample.c - which allocations are sampled, and what each of them stands for.
 *
 * The source is included, so that the generator starts from a seed: then a bound that a test keeps once it always
 * keeps. Bounds are five standard deviations wide, so that another seed would keep them as well.
 *
 *	p      the chance of an allocation of n bytes: 1 - e^(-n / mean)
 *	count  of N allocations: N p, deviation sqrt(N p (1 - p))
 *	bytes  each sample counts for n / p: N n, deviation n / p sqrt(N p (1 - p))
 */
#include "unit.h"

#include "trace/sample.c"

#include <math.h>
#include <pthread.h>

#define MEAN (512UL << 10)
#define SIGMAS 5

static void start(uint64_t seed, size_t mean)
{
	trace_control.want_sample_bytes = mean;
	random_state = seed | 1;
	for (int i = 0; i < 8; i++)
		next_random();
	draw_anew();
}

static void near_by(double value, double expected, double within)
{
	if (fabs(value - expected) <= within)
		return;
	fprintf(stderr, "%.6g is not within %.6g of %.6g\n", value, within, expected);
	CHECK(!"within its bounds");
}

static void logarithm_and_exponential_are_those_of_libm(void)
{
	for (double x = 1e-16; x <= 1; x *= 1.07)
		near_by(logarithm(x), log(x), fabs(log(x)) * 1e-6 + 1e-9);
	for (double x = 0; x < 700; x = x * 1.1 + 1e-4)
		near_by(exponential(x), exp(-x), 1e-9);
	CHECK(exponential(1000) == 0);
}

static void weight_is_bytes_over_chance(void)
{
	for (double bytes = 1; bytes < 1e12; bytes *= 1.3) {
		double expected = bytes / -expm1(-bytes / MEAN);

		near_by(trace_weight(bytes, MEAN), expected, expected * 1e-6);
	}
	near_by(trace_weight(16, MEAN), 524296, 0.001); /* mean + n / 2 + ... */
	near_by(trace_weight(MEAN, MEAN), MEAN / 0.6321205588285577, 1);
	near_by(trace_weight(1e9, MEAN), 1e9, 1e-3); /* the large ones are all sampled */
	near_by(trace_weight(100, 0), 100, 0);	     /* mean 0: everything is */
	near_by(trace_weight(0, MEAN), 0, 0);
}

/* Allocate so often that some 2000 are sampled; all sums are as they have to be. */
static void check_size(size_t size, uint64_t seed)
{
	double chance = -expm1(-(double)size / MEAN), number = 2000 / chance, deviation;
	double weight = trace_weight((double)size, MEAN);
	uint64_t count = (uint64_t)number, sampled = 0;

	start(seed, MEAN);
	for (uint64_t i = 0; i < count; i++)
		sampled += trace_sample(size);
	deviation = sqrt((double)count * chance * (1 - chance));
	near_by((double)sampled, (double)count * chance, SIGMAS * deviation + 1e-6);
	near_by((double)sampled * weight, (double)count * (double)size,
		SIGMAS * deviation * weight + (double)count * (double)size * 2e-6);
}

static void each_size_is_sampled_as_often_as_it_should(void)
{
	static const size_t sizes[] = { 16,	   24,	      100,	  1000,
					4096,	   50000,     1UL << 17,  512UL << 10,
					1UL << 20, 3UL << 20, 16UL << 20, 100UL << 20 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		check_size(sizes[i], unit_seed() + i * 977);
}

/* A program's mixture: most are small, most bytes are in large ones. Unbiased in each class and in all. */
static void mixture_of_sizes_is_unbiased(void)
{
	uint64_t seed = unit_seed();
	double bytes[24] = { 0 }, estimate[24] = { 0 }, variance[24] = { 0 };
	double all = 0, all_estimate = 0, all_variance = 0;

	start(seed, 64UL << 10);
	for (unsigned i = 0; i < 3000000; i++) {
		unsigned class = (unsigned)__builtin_ctzl(unit_random(&seed) | 1UL << 22);
		double n = (double)((16UL << class) + unit_random(&seed) % (16UL << class));
		double chance = -expm1(-n / (64 << 10));

		bytes[class] += n;
		variance[class] += n * n * (1 - chance) / chance;
		if (trace_sample((size_t)n))
			estimate[class] += trace_weight(n, 64 << 10);
	}
	for (unsigned i = 0; i < 24; i++) {
		near_by(estimate[i], bytes[i], SIGMAS * sqrt(variance[i]) + bytes[i] * 1e-5);
		all += bytes[i];
		all_estimate += estimate[i];
		all_variance += variance[i];
	}
	near_by(all_estimate, all, SIGMAS * sqrt(all_variance) + all * 1e-5);
}

static void mean_of_one_byte_samples_nearly_all(void)
{
	uint64_t sampled = 0;

	start(unit_seed(), 1);
	for (int i = 0; i < 100000; i++)
		sampled += trace_sample(16);
	CHECK_EQ(sampled, 100000); /* one in nine millions is not */
	start(unit_seed(), 0);
	CHECK(trace_sample(1) && trace_sample(1));
}

static void *sample_in_thread(void *arg)
{
	uint64_t *sampled = arg;

	for (int i = 0; i < 100000; i++)
		*sampled += trace_sample(1000);
	return NULL;
}

/* Each starts by itself, from a seed of its own: 191 samples are expected, 14 is the deviation. */
static void threads_sample_apart(void)
{
	uint64_t sampled[8] = { 0 };
	bool differ = false;

	trace_control.want_sample_bytes = MEAN;
	for (int i = 0; i < 8; i++) {
		pthread_t thread;

		CHECK(pthread_create(&thread, NULL, sample_in_thread, &sampled[i]) == 0);
		pthread_join(thread, NULL);
		near_by((double)sampled[i], 190.7, 7 * 14);
		differ |= sampled[i] != sampled[0];
	}
	CHECK(differ);
}

int main(void)
{
	static const struct unit_case cases[] = {
		UNIT_TEST_RAW(logarithm_and_exponential_are_those_of_libm),
		UNIT_TEST_RAW(weight_is_bytes_over_chance),
		UNIT_TEST_RAW(each_size_is_sampled_as_often_as_it_should),
		UNIT_TEST_RAW(mixture_of_sizes_is_unbiased),
		UNIT_TEST_RAW(mean_of_one_byte_samples_nearly_all),
		UNIT_TEST_RAW(threads_sample_apart),
	};

	return UNIT_MAIN(cases);
}
