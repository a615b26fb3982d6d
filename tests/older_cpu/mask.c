/* Hides AVX-512, VNNI, AMX and bf16 from a process, so that libraries choose the instructions of an older x86 CPU.
 *
 * To be preloaded. Linux makes the CPUID instruction fault where the CPU can do that (cpuid_fault in /proc/cpuinfo); the
 * handler answers in its place. The setting ends with an exec, and starts anew where LD_PRELOAD is inherited. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define ARCH_SET_CPUID 0x1012
#define BIT(n) (1u << (n))

typedef int (*sigaction_type)(int, const struct sigaction *, struct sigaction *);

static sigaction_type real_sigaction;
static struct sigaction theirs; /* what the program wants to do about other faults */

static int allow_cpuid(int allowed) { return syscall(SYS_arch_prctl, ARCH_SET_CPUID, allowed); }

static void answer(greg_t *registers) {
    unsigned leaf = registers[REG_RAX], subleaf = registers[REG_RCX], a, b, c, d;
    allow_cpuid(1);
    __asm__ volatile("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(leaf), "c"(subleaf));
    allow_cpuid(0);
    if (leaf == 7 && subleaf == 0) {
        b &= ~(BIT(16) | BIT(17) | BIT(21) | BIT(26) | BIT(27) | BIT(28) | BIT(30) | BIT(31)); /* AVX-512 */
        c &= ~(BIT(1) | BIT(6) | BIT(11) | BIT(12) | BIT(14));                                 /* more of it, VNNI */
        d &= ~(BIT(2) | BIT(3) | BIT(8) | BIT(22) | BIT(23) | BIT(24) | BIT(25));              /* fp16, AMX */
    }
    if (leaf == 7 && subleaf == 1) {
        a &= ~(BIT(4) | BIT(5) | BIT(21) | BIT(23)); /* AVX-VNNI, AVX-512 bf16 */
        d &= ~(BIT(4) | BIT(5) | BIT(8) | BIT(10));
    }
    registers[REG_RAX] = a, registers[REG_RBX] = b, registers[REG_RCX] = c, registers[REG_RDX] = d;
}

static void on_fault(int number, siginfo_t *info, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const unsigned char *code = (const unsigned char *)registers[REG_RIP];
    if (info->si_code == SI_KERNEL && code[0] == 0x0f && code[1] == 0xa2) { /* CPUID */
        answer(registers);
        registers[REG_RIP] += 2;
    } else if (theirs.sa_flags & SA_SIGINFO) {
        theirs.sa_sigaction(number, info, context);
    } else if (theirs.sa_handler != SIG_DFL && theirs.sa_handler != SIG_IGN) {
        theirs.sa_handler(number);
    } else {
        struct sigaction fatal = {.sa_handler = SIG_DFL};
        real_sigaction(SIGSEGV, &fatal, NULL);
    }
}

int sigaction(int number, const struct sigaction *wanted, struct sigaction *before) {
    if (!real_sigaction) real_sigaction = (sigaction_type)dlsym(RTLD_NEXT, "sigaction");
    if (number != SIGSEGV) return real_sigaction(number, wanted, before);
    if (before) *before = theirs;
    if (wanted) theirs = *wanted;
    return 0;
}

sighandler_t signal(int number, sighandler_t wanted) {
    sighandler_t before = theirs.sa_handler;
    if (number != SIGSEGV) return ((sighandler_t(*)(int, sighandler_t))dlsym(RTLD_NEXT, "signal"))(number, wanted);
    theirs = (struct sigaction){.sa_handler = wanted};
    return before;
}

__attribute__((constructor)) static void start(void) {
    struct sigaction ours = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
    if (!real_sigaction) real_sigaction = (sigaction_type)dlsym(RTLD_NEXT, "sigaction");
    real_sigaction(SIGSEGV, &ours, NULL);
    if (allow_cpuid(0)) {
        fputs("this CPU or kernel cannot hide instructions\n", stderr);
        _exit(69);
    }
}
