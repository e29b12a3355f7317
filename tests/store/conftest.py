from tests.store.fixtures import quick_path, rig

__all__ = ["quick_path", "rig"]
