#include "basic.h"
const test share_tests[] = {{NULL, NULL}};
