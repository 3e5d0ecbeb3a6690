#ifndef PC_KERN_DEADMAN_H
#define PC_KERN_DEADMAN_H
#include <stdint.h>
#include <time.h>

/*
 * A dead man's switch kept by the kernel: unless it is pushed back in time, this process gets SIGKILL, also when it is
 * stopped, spinning or deadlocked. Its fanotify groups then close and the kernel lets every waiting open through. No
 * other process is needed for it, so it holds even when the supervisor itself is stopped.
 */
int pc_deadman_arm(timer_t *t, uint64_t after_ns); /* creates and starts; 0 or -errno */
int pc_deadman_push(timer_t t, uint64_t after_ns); /* start again from now */
void pc_deadman_disarm(timer_t t);
#endif
