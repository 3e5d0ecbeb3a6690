#ifndef PC_PROC_CONFINE_H
#define PC_PROC_CONFINE_H

/*
 * Takes from this process what the guard never needs, for good and for every thread started later: capabilities beyond
 * the list in confine.c, gaining privileges by exec, starting programs, the network, tracing, loading kernel code. Call it
 * before threads are started. 0 or -errno / PC_E_UNSUPPORTED (the kernel has no seccomp; capabilities are dropped all the
 * same).
 */
int pc_confine_guard(void);
#endif
