/* Owns nothing: the drill as a program of its own, for its tests. */
#include "cli/drill.h"

int main(int argc, char **argv)
{
    return pc_cmd_drill(argc, argv);
}
