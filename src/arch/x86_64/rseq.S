/* SPDX-License-Identifier: MIT */
/*
 * rseq.S - where rseq_abi leads before start-up and in locked mode: a dummy of
 * the thread's own, whose index is -1, so that every sequence misses.
 *
 * The offsets of the dummy from the thread pointer are known once the library
 * is loaded. No relocation of data can express them in a shared object, so the two
 * words are filled by resolvers (R_X86_64_IRELATIVE): the dynamic linker calls them
 * when it relocates the library, which is before anybody can call into it, and
 * after the words of the GOT that they read.
 */
	.section .tdata, "awT", @progbits
	.balign 16
rseq_dummy:
	.quad	0		/* takes the stores to rseq_cs */
	.long	0xffffffff	/* the index: none */
	.long	0

	.text
	.type	rseq_dummy_cs, @gnu_indirect_function
rseq_dummy_cs:
	endbr64
	movq	rseq_dummy@gottpoff(%rip), %rax
	ret
	.size	rseq_dummy_cs, . - rseq_dummy_cs

	.type	rseq_dummy_index, @gnu_indirect_function
rseq_dummy_index:
	endbr64
	movq	rseq_dummy@gottpoff(%rip), %rax
	addq	$8, %rax
	ret
	.size	rseq_dummy_index, . - rseq_dummy_index

	.data
	.globl	rseq_abi
	.hidden	rseq_abi
	.balign 16
rseq_abi:
	.quad	rseq_dummy_cs
	.quad	rseq_dummy_index
	.type	rseq_abi, @object
	.size	rseq_abi, 16

	.section .note.GNU-stack, "", @progbits
