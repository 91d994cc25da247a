"""Stand-ins for the libraries of Huawei's CANN, with which MindSpore's own Ascend backend loads and compiles.

MindSpore's x86 wheel contains its Ascend plugin; it lacks only CANN's shared libraries, whose functions the plugin imports.
``build`` makes libraries of these names in which every function does nothing and returns 0. With MindSpore's own simulation
(``MS_SIMULATION_LEVEL=1``) the real Ascend passes, the kernel selection and the scheduler run on our graphs. They show which
kernel is chosen for each operator, what falls back to the CPU, what does not compile, where streams are synchronised, and how
many kernels and all-reduces a step has. They do not show numbers, speed, memory, or whether CANN has a kernel for a type.

``symbols/`` lists the names that the plugin of this version of MindSpore imports. For another version: compile a case, read
"undefined symbol", add.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
MINDSPORE = "2.10."  # the versions whose imports `symbols/` lists
POINTERS = {f"aclCreate{kind}" for kind in ("BoolArray", "FloatArray", "IntArray", "Scalar", "Tensor", "TensorList")}
SINGLETON = "_ZN2ge13StatusFactory8InstanceEv"  # returns a std::map, which must look empty
REGISTER = "_ZN9mindspore6device6ascend15AscendStreamMng11RegCallbackEPv"
UNREGISTER = "_ZN9mindspore6device6ascend15AscendStreamMng13UnRegCallbackEPvb"
COPY = "_ZNK9mindspore6device6ascend16AscendResManager8BaseCopyEPvPKvm15aclrtMemcpyKindmSt10shared_ptrINS0_13DeviceAddressEE"
SYNC_STREAM = "_ZNK9mindspore6device6ascend16AscendResManager10SyncStreamEm"
SYNC_ALL = "_ZNK9mindspore6device6ascend16AscendResManager14SyncAllStreamsEb"
SOC_SETTER = "_ZN9mindspore9MsContext22set_ascend_soc_versionERKSs"


def missing() -> str | None:
    """Why the stand-ins cannot be built here; None if they can."""
    version = importlib.metadata.version("mindspore")
    if not version.startswith(MINDSPORE):
        return f"the stand-ins are for MindSpore {MINDSPORE}x, this is {version}"
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return f"the stand-ins are for Linux on x86_64, this is {platform.system()} on {platform.machine()}"
    for tool in ("gcc", "nm"):
        if shutil.which(tool) is None:
            return f"the stand-ins need {tool}"
    if not list((_mindspore() / "lib/plugin").glob("libmindspore_ascend.so*")):
        return "this MindSpore has no Ascend plugin"
    return None


def build(folder: Path) -> dict[str, str]:
    """Build them in ``folder``; returns the environment in which a Python process takes them for CANN.

    ``FAKE_SOC`` in that environment says which card there would be: ascend910b (the default), ascend910 (the 910A).
    """
    home = folder.absolute() / "cann"  # the plugin looks for a folder of that name in its own path
    libraries = home / "lib64"
    for path in (libraries, home / "opp", home / "compiler"):
        path.mkdir(parents=True)
    _compile(libraries, "ascendcl", "\n".join(_function(number, name) for number, name in enumerate(_names("cann"))))
    for name in _names("libraries"):
        _compile(libraries, name, "\n", "-Wl,--no-as-needed", f"-L{libraries}", "-lascendcl")
    for name in ("profapi", "runtime"):
        functions = "\n".join(f"long {each}(void){{return 0;}}" for each in _names("profiler"))
        _compile(libraries, name, functions, "-Wl,--no-as-needed", f"-L{libraries}", "-lascendcl")
    functions = [
        f"void* {name}(void){{return thing;}}" if name in POINTERS else f"int {name}(void){{return 0;}}"
        for name in _names("opapi")
    ]
    _compile(libraries, "opapi", "static char thing[64];\n" + "\n".join(functions))
    _compile(libraries, "hook", _hook(_mindspore() / "lib/plugin/libmindspore_ops_ascend.so"), "-ldl")
    python = folder.absolute() / "python"
    _hccl(python / "hccl")
    lib = _mindspore() / "lib"
    return {
        "LD_LIBRARY_PATH": f"{libraries}:{lib}/plugin/ascend:{lib}/plugin:{lib}",
        "LD_PRELOAD": f"{libraries}/libhook.so",
        "ASCEND_HOME_PATH": str(home),
        "ASCEND_TOOLKIT_HOME": str(home),
        "ASCEND_OPP_PATH": str(home / "opp"),
        "MS_SIMULATION_LEVEL": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(python),
    }


def _names(file: str) -> list[str]:
    return (HERE / f"symbols/{file}.txt").read_text(encoding="ascii").split()


def _mindspore() -> Path:
    spec = importlib.util.find_spec("mindspore")
    assert spec is not None and spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0])


def _function(number: int, name: str) -> str:
    if name == "aclrtGetSocName":
        return 'const char* aclrtGetSocName(void){return "Ascend910B2";}'
    if name == SINGLETON:
        return (
            "static long map[16];\n"
            f'void* f{number}(void) __asm__("{name}"); '
            f"void* f{number}(void){{ if(!map[3]){{ map[3]=(long)&map[1]; map[4]=(long)&map[1]; }} return map; }}"
        )
    if name.startswith(("_ZTV", "_ZTI", "_ZTS")):  # data of a class
        return f'char d{number}[512] __asm__("{name}") = {{0}};'
    return f'long f{number}(void) __asm__("{name}"); long f{number}(void){{return 0;}}'


def _hook(plugin: Path) -> str:
    """Preloaded: the conversion of attributes for the older kernels is left out, and the card is ``FAKE_SOC``."""
    listed = subprocess.run(["nm", "-D", "--defined-only", str(plugin)], capture_output=True, text=True, check=True).stdout
    names = [line.split()[-1] for line in listed.splitlines() if "AclConverter21ConvertInputToAclAttr" in line]
    left_out = "\n".join(
        f'long h{number}(void) __asm__("{name}"); long h{number}(void){{return {1 if "Launch" in name else 0};}}'
        for number, name in enumerate(names)
    )
    return f"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
{left_out}
static void* of_the_card(const char* name) {{
  return dlsym(dlopen("libmindspore_ascend_res_manager.so", RTLD_NOLOAD | RTLD_NOW), name);
}}
_Bool register_callbacks(void) __asm__("{REGISTER}");
_Bool register_callbacks(void) {{ return 1; }} /* without its thread, which would ask the stand-ins without a pause */
_Bool unregister_callbacks(void) __asm__("{UNREGISTER}");
_Bool unregister_callbacks(void) {{ return 1; }}
_Bool copy(void*, void*, void*, size_t, int, size_t, void*) __asm__("{COPY}");
_Bool copy(void* self, void* to, void* from, size_t size, int kind, size_t stream, void* kept) {{
  static _Bool (*real)(void*, void*, void*, size_t, int, size_t, void*) = 0;
  if (!real) real = of_the_card("{COPY}");
  if (getenv("TRACE_WAITS")) dprintf(2, kind == 1 && !stream ? "@@ copied %zu bytes to the card\\n" : "", size);
  return real(self, to, from, size, kind, stream, kept);
}}
_Bool sync_stream(void*, size_t) __asm__("{SYNC_STREAM}");
_Bool sync_stream(void* self, size_t stream) {{
  static _Bool (*real)(void*, size_t) = 0;
  if (!real) real = of_the_card("{SYNC_STREAM}");
  if (getenv("TRACE_WAITS")) dprintf(2, "@@ waited for stream %zu\\n", stream);
  return real(self, stream);
}}
_Bool sync_all(void*, _Bool) __asm__("{SYNC_ALL}");
_Bool sync_all(void* self, _Bool device) {{
  static _Bool (*real)(void*, _Bool) = 0;
  if (!real) real = of_the_card("{SYNC_ALL}");
  if (getenv("TRACE_WAITS")) dprintf(2, "@@ waited for all streams\\n");
  return real(self, device);
}}
static struct {{ size_t length, capacity; long references; char text[64]; }} soc; /* a std::string of GCC's old form */
void set_soc(void*, void*) __asm__("{SOC_SETTER}");
void set_soc(void* self, void* text) {{
  static void (*real)(void*, void*) = 0;
  if (!real) real = dlsym(dlopen("libmindspore_core.so", RTLD_NOLOAD | RTLD_NOW), "{SOC_SETTER}");
  char* name = getenv("FAKE_SOC");
  if (!name) name = "ascend910b";
  strcpy(soc.text, name);
  soc.length = soc.capacity = strlen(name);
  soc.references = 1000000;
  char* pointer = soc.text;
  real(self, &pointer);
}}
"""


def _compile(folder: Path, name: str, source: str, *more: str) -> None:
    file = folder / f"{name}.c"
    file.write_text(source, encoding="ascii")
    library = folder / f"lib{name}.so"
    options = ["-w", "-shared", "-fPIC", f"-Wl,-soname,{library.name}", "-o", str(library), str(file), *more]
    subprocess.run(["gcc", *options], check=True)
    file.unlink()


def _hccl(package: Path) -> None:
    """CANN's Python package for communication."""
    functions = "".join(f"def {name}(*arguments, **named):\n    return 0\n" for name in _names("hccl"))
    for folder, content in ((".", "class sys_version:\n    __sys_version__ = '8.3'\n"), ("manage", ""), ("split", "")):
        (package / folder).mkdir(parents=True, exist_ok=True)
        (package / folder / "__init__.py").write_text(content, encoding="ascii")
        if folder != ".":
            (package / folder / "api.py").write_text(functions, encoding="ascii")
