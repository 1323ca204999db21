/* SPDX-License-Identifier: MIT */
/*
 * vfork.S - vfork(2), with the allocator told on both sides.
 *
 * It must be assembly: the child returns from here first, into the caller's
 * frame, and overwrites the stack below it; the parent then returns a second
 * time. So nothing may be kept on the stack over the call, the return address
 * included. It travels in rdi, the signal mask in rsi: the system call keeps both,
 * in both processes.
 *
 *	mask = vfork_prepare();
 *	ret = vfork();
 *	if (ret == 0) { vfork_child(mask); return 0; }
 *	return vfork_parent(mask, ret);
 */
	.text
	.globl	vfork
	.type	vfork, @function
	.globl	__vfork
	.type	__vfork, @function
	.balign	16
vfork:
__vfork:
	.cfi_startproc
	endbr64
	subq	$8, %rsp
	.cfi_adjust_cfa_offset 8
	call	vfork_prepare
	addq	$8, %rsp
	.cfi_adjust_cfa_offset -8
	movq	%rax, %rsi		/* the mask */
	popq	%rdi			/* the return address */
	.cfi_adjust_cfa_offset -8
	.cfi_register %rip, %rdi
	movl	$58, %eax		/* SYS_vfork; clobbers rcx and r11 only */
	syscall
	pushq	%rdi
	.cfi_adjust_cfa_offset 8
	.cfi_restore %rip
	movq	%rsi, %rdi
	testq	%rax, %rax
	jnz	1f
	subq	$8, %rsp
	.cfi_adjust_cfa_offset 8
	call	vfork_child
	addq	$8, %rsp
	.cfi_adjust_cfa_offset -8
	xorl	%eax, %eax
	ret
1:
	movq	%rax, %rsi
	jmp	vfork_parent
	.cfi_endproc
	.size	vfork, . - vfork
	.size	__vfork, . - __vfork

	.section .note.GNU-stack, "", @progbits
