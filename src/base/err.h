#ifndef PC_BASE_ERR_H
#define PC_BASE_ERR_H
/*
 * The one error namespace. Every function that can fail returns 0 (or a count / descriptor >= 0) on success and a
 * negative value on failure; out-parameters are untouched on failure. A failed system call is reported as -errno
 * (-1 .. -4095, the kernel's own range); what errno has no word for is one of the values below.
 */
enum pc_err {
    PC_OK = 0,
    PC_E_BASE = -5000,
    PC_E_SYNTAX,      /* input does not parse */
    PC_E_TRAILING,    /* bytes left over after a complete message */
    PC_E_RANGE,       /* a number is outside what is allowed */
    PC_E_LIMIT,       /* a fixed bound of ours is reached */
    PC_E_UNSUPPORTED, /* the kernel, file system or format cannot do it */
    PC_E_CORRUPT,     /* our own data (vault, index, trace) is damaged */
    PC_E_NOTFOUND,    /* no such object in our own data */
    PC_E_CHANGED,     /* somebody changed it while we worked on it: nothing was done */
    PC_E_REFUSED,     /* a safety rule forbids it */
    PC_E_UNVERIFIED,  /* done, but checking the result failed */
    PC_E_STATE,       /* not possible in this state (for example: released already) */
    PC_E_SIGNATURE,   /* well formed, but not this key's signature over these bytes */
    PC_E_NAMESPACE,   /* signed for another purpose (SSHSIG namespace) */
    PC_E_KEY,         /* not the key that was asked for, or one too weak to be trusted */
    PC_E_PRESENCE,    /* a hardware key signed without anybody touching it */
    PC_E_LAST
};

/* Plain words for any value above or any -errno. Never NULL; static storage or thread-local buffer. */
const char *pc_strerror(int err);
#endif
