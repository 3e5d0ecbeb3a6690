#ifndef PC_TRUST_CLASS_H
#define PC_TRUST_CLASS_H

/*
 * What an owner's signature may start (DESIGN 4.1): look, standing, act, stop; and T, the right to change the trust
 * file.
 */
enum pc_class { PC_CLASS_A, PC_CLASS_B, PC_CLASS_C, PC_CLASS_S, PC_CLASS_T, PC_CLASSES };

/* "A" .. "T", as documents write it; "?" for a value that is no class. Static. */
const char *pc_class_letter(enum pc_class c);
/* The class with this letter, or -1. */
int pc_class_find(const char *letter);
#endif
