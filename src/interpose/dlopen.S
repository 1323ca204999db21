/* SPDX-License-Identifier: MIT */
/*
 * dlopen.S - dlopen(3) without RTLD_DEEPBIND.
 *
 * A library that is loaded with that flag finds malloc and free in the C library first, behind the preloaded one, while
 * its program has them from here: the first block that goes from one to the other is freed by an allocator that never had
 * it. PHP loads all its modules so. The flag is taken off, so that there is one malloc in the process; deepbind in
 * KMALLOC_CMDLINE keeps it.
 *
 * It must be a jump: the linker looks at who called dlopen(), for its RUNPATH and its namespace.
 *
 *	if (!keeps_deepbind) mode &= ~RTLD_DEEPBIND;
 *	goto *(dlopen_next ? dlopen_next : dlopen_find());
 */
	.text
	.globl	dlopen
	.type	dlopen, @function
	.balign	16
dlopen:
	.cfi_startproc
	endbr64
	pushq	%rdi
	.cfi_adjust_cfa_offset 8
	pushq	%rsi
	.cfi_adjust_cfa_offset 8
	subq	$8, %rsp
	.cfi_adjust_cfa_offset 8
	call	dlopen_next		/* where it is, in rax */
	addq	$8, %rsp
	.cfi_adjust_cfa_offset -8
	popq	%rsi
	.cfi_adjust_cfa_offset -8
	popq	%rdi
	.cfi_adjust_cfa_offset -8
	andl	dlopen_mask(%rip), %esi
	jmp	*%rax
	.cfi_endproc
	.size	dlopen, . - dlopen
	.section .note.GNU-stack, "", @progbits
