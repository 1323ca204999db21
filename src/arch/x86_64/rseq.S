/* SPDX-License-Identifier: MIT */
/*
 * rseq.S - where rseq_abi leads before start-up and in locked mode: a dummy of
 * the thread's own, whose index is -1, so that every sequence misses. The
 * dynamic linker fills in the offsets when it relocates the library, which is
 * before anybody can call into it.
 */
	.section .tdata, "awT", @progbits
	.balign 16
rseq_dummy:
	.quad	0		/* takes the stores to rseq_cs */
	.long	0xffffffff	/* the index: none */
	.long	0

	.data
	.globl	rseq_abi
	.hidden	rseq_abi
	.balign 16
rseq_abi:
	.quad	rseq_dummy@tpoff
	.quad	rseq_dummy@tpoff + 8
	.type	rseq_abi, @object
	.size	rseq_abi, 16

	.section .note.GNU-stack, "", @progbits
