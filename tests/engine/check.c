#include "check.h"

check_state check;
